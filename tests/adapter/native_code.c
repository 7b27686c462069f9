/* native_code.c - stores in native code, in threads that run nothing of Python's; for test_native_code.py. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef void writer(unsigned char *);

static __attribute__((noinline)) void hidden(unsigned char *at) { *(volatile unsigned char *)at = 1; }
void exported(unsigned char *at) {
    hidden(at);
    *(volatile unsigned char *)at = 2;
}
void copies(unsigned char *at) {
    static const unsigned char bytes[40] = {3, 3, 3};
    volatile size_t n = sizeof bytes;
    memcpy(at, bytes, n);
    __asm__ volatile("");
}
void asks(unsigned char *at) {
    clock_gettime(CLOCK_REALTIME, (struct timespec *)at);
    __asm__ volatile("");
}
void reads(unsigned char *at) {
    int ends[2];
    if (pipe(ends) || write(ends[1], "rrrrrrrr", 8) != 8 || read(ends[0], at, 8) != 8) abort();
    close(ends[0]);
    close(ends[1]);
}

static unsigned char *handled;
static void handle(int signal) {
    (void)signal;
    *(volatile unsigned char *)handled = 4;
}
void interrupted(unsigned char *at) {
    handled = at;
    signal(SIGUSR2, handle);
    raise(SIGUSR2);
    __asm__ volatile("");
}
void made(unsigned char *at) {
    static const unsigned char code[] = {0xc6, 0x07, 0x05, 0xc3}; /* movb $5, (%rdi); ret */
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    ((writer *)page)(at);
    munmap(page, 4096);
}
void killed(unsigned char *at) {
    *(volatile unsigned char *)at = 6;
    kill(getpid(), SIGKILL);
}

struct job {
    writer *write;
    unsigned char *at;
};
static void *work(void *job) {
    ((struct job *)job)->write(((struct job *)job)->at);
    return NULL;
}
void in_thread(writer *write, unsigned char *at) {
    struct job job = {write, at};
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, &job) || pthread_join(thread, NULL)) abort();
}
