/* code_blocks.c - executable memory: two thunks and a small block for each instruction.
 *
 * Never writable and executable through one address: memory that is mapped once read-write and once read-execute, each
 * at a random place. (Mapped for writing only while a block is written, it would take system calls on the fault path:
 * dear, and what a sandbox that the program enters later may kill for.)
 *
 *   enter(xstate, mask):  reload the extended state if asked to, save our stack pointer, load flags and all sixteen
 *                         registers from this thread's struct thread (addressed through FS), jump to its `block`
 *   block:                the instruction behind a GS prefix, then a jump to `leave`
 *   leave:                store the sixteen registers and the flags, take back our stack, return
 *
 * No signal may arrive in between (the handler masks all of them): the stack pointer is the interrupted program's. */
#include "stores/code_blocks.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/thread.h"
#include "memory/arena.h"
#include "memory/shared_memory.h"
#include "memwatch.h"
#include "state.h"

#define CODE_SIZE ((size_t)1 << 20)
#define BLOCK_SIZE 32u
#define THUNKS_SIZE 2048u

struct emitter {
    uint8_t *at;
};

MW_SIGNAL_SAFE static void emit(struct emitter *e, const void *bytes, unsigned n) {
    memcpy(e->at, bytes, n);
    e->at += n;
}

#define BYTES(e, ...) emit(e, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Where a field of struct thread lies, as a displacement from FS: the same in every thread (initial-exec TLS). */
MW_SIGNAL_SAFE static int32_t from_fs(size_t field) {
    uintptr_t fs;
    __asm__("movq %%fs:0, %0" : "=r"(fs));
    return (int32_t)((uintptr_t)&mw_thread + field - fs);
}

/* <opcode> with a memory operand fs:[field] and a register (or opcode extension) field. */
MW_SIGNAL_SAFE static void emit_fs(struct emitter *e, uint8_t opcode, unsigned reg, bool wide, size_t field) {
    int32_t displacement = from_fs(field);
    BYTES(e, 0x64);
    if (wide) BYTES(e, (uint8_t)(0x48 | (reg >> 3) << 2));
    BYTES(e, opcode, (uint8_t)(0x04 | (reg & 7) << 3), 0x25);
    emit(e, &displacement, 4);
}

#define FIELD(name) offsetof(struct thread, name)

static void emit_enter(struct emitter *e) {
    BYTES(e, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx rbp r12 r13 r14 r15 */
    BYTES(e, 0x48, 0x85, 0xff);                                           /* test rdi, rdi */
    BYTES(e, 0x74, 13);                                                   /* jz over the xrstor */
    BYTES(e, 0x89, 0xf0);                                                 /* mov eax, esi */
    BYTES(e, 0x48, 0x89, 0xf2);                                           /* mov rdx, rsi */
    BYTES(e, 0x48, 0xc1, 0xea, 0x20);                                     /* shr rdx, 32 */
    BYTES(e, 0x48, 0x0f, 0xae, 0x2f);                                     /* xrstor64 [rdi] */
    emit_fs(e, 0x89, 4, true, FIELD(handler_rsp));                        /* mov fs:handler_rsp, rsp */
    emit_fs(e, 0xff, 6, false, FIELD(flags));                             /* push fs:flags */
    BYTES(e, 0x9d);                                                       /* popfq */
    for (unsigned r = 0; r < 16; r++)                                     /* rsp among them: nothing is pushed below */
        emit_fs(e, 0x8b, r, true, FIELD(regs) + 8 * r);
    emit_fs(e, 0xff, 4, false, FIELD(block)); /* jmp fs:block */
}

static void emit_leave(struct emitter *e) {
    for (unsigned r = 0; r < 16; r++) emit_fs(e, 0x89, r, true, FIELD(regs) + 8 * r);
    emit_fs(e, 0x8b, 4, true, FIELD(handler_rsp));
    BYTES(e, 0x9c);                           /* pushfq */
    emit_fs(e, 0x8f, 0, false, FIELD(flags)); /* pop fs:flags */
    BYTES(e, 0x6a, 0x02, 0x9d);               /* push 2; popfq: C expects DF and AC clear */
    BYTES(e, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

/* New memory, seen twice, at places that are reserved, with what is at `contents` in it. */
static int map_views_of(void *write_at, void *run_at, const void *contents, bool memfd) {
    struct shared memory;
    if (!write_at || !run_at) return MW_ERR_NO_MEMORY;
    int error = shared_open(&memory, contents ? NULL : write_at, CODE_SIZE, memfd);
    if (!error) error = shared_use(&memory, 0, CODE_SIZE);
    if (error) return error;
    if (contents) memcpy(memory.base, contents, mw.code_blocks.used);
    void *run_view = shared_view(&memory, run_at, 0, CODE_SIZE, PROT_READ | PROT_EXEC);
    if (!run_view || (contents && shared_move(&memory, write_at))) {
        if (contents) shared_close(&memory);
        return MW_ERR_EXECUTABLE;
    }
    mw.code_blocks.write = memory.base;
    mw.code_blocks.run = run_view;
    return MW_OK;
}

static int map_views(void *write_at, void *run_at, const void *contents) {
    int error = map_views_of(write_at, run_at, contents, false);
    return error == MW_ERR_EXECUTABLE ? map_views_of(write_at, run_at, contents, true) : error;
}

int code_blocks_open(void) {
    void *write_at = arena_place(CODE_SIZE, MW_PAGE_SIZE), *run_at = arena_place(CODE_SIZE, MW_PAGE_SIZE);
    int error = map_views(write_at, run_at, NULL);
    if (error) {
        if (write_at) munmap(write_at, CODE_SIZE);
        if (run_at) munmap(run_at, CODE_SIZE);
        return error;
    }
    struct emitter e = {mw.code_blocks.write};
    emit_enter(&e);
    size_t enter_size = (size_t)(e.at - mw.code_blocks.write);
    emit_leave(&e);
    mw.code_blocks.enter = (void (*)(void *, uint64_t))(uintptr_t)mw.code_blocks.run;
    mw.code_blocks.leave = mw.code_blocks.run + enter_size;
    mw.code_blocks.used = THUNKS_SIZE; /* the thunks, the overflow block; then one block for each instruction */
    return (size_t)(e.at - mw.code_blocks.write) <= THUNKS_SIZE - BLOCK_SIZE ? MW_OK : MW_ERR_EXECUTABLE;
}

/* A forked child shares the memory of the blocks with its parent, and both would append to it. */
int code_blocks_replace(void) { return map_views(mw.code_blocks.write, mw.code_blocks.run, mw.code_blocks.write); }

MW_SIGNAL_SAFE static void emit_block(uint8_t *at, const uint8_t *instruction, unsigned length) {
    struct emitter e = {at};
    emit(&e, instruction, length);
    emit_fs(&e, 0xff, 4, false, FIELD(leave));
}

MW_SIGNAL_SAFE void *code_block_make(const uint8_t *instruction, unsigned length) {
    if (mw.code_blocks.used + BLOCK_SIZE > CODE_SIZE) return NULL;
    emit_block(mw.code_blocks.write + mw.code_blocks.used, instruction, length);
    void *block = mw.code_blocks.run + mw.code_blocks.used;
    mw.code_blocks.used += BLOCK_SIZE;
    return block;
}

MW_SIGNAL_SAFE void *code_block_overflow(const uint8_t *instruction, unsigned length) {
    emit_block(mw.code_blocks.write + THUNKS_SIZE - BLOCK_SIZE, instruction, length);
    return mw.code_blocks.run + THUNKS_SIZE - BLOCK_SIZE;
}
