/* guarded_copy.c - memory of the program that may not be there, read and written without a system call.
 *
 * A call with a bad pointer returns EFAULT: what stands in for it must not crash where the kernel would not. One
 * function touches such memory, with two instructions that may fault; the handler (fault.c) lets it return false. Not
 * for the fault path itself, where our signals are blocked: there, safe_read() and safe_write(). */
#include "stores/guarded_copy.h"

#include "memwatch.h"

extern const uint8_t guard_load[], guard_store[], guard_failed[]; /* in guarded_copy() */

__asm__(".pushsection .text.mw_signal_safe, \"ax\", @progbits\n"
        ".p2align 4\n"
        ".globl guarded_copy\n"
        ".hidden guarded_copy, guard_load, guard_store, guard_failed\n"
        ".type guarded_copy, @function\n"
        "guarded_copy:\n"
        "    xorl %eax, %eax\n"
        "1:  cmpq %rdx, %rax\n"
        "    jae 2f\n"
        ".globl guard_load\n"
        "guard_load:\n"
        "    movq (%rsi,%rax), %rcx\n"
        ".globl guard_store\n"
        "guard_store:\n"
        "    movq %rcx, (%rdi,%rax)\n"
        "    addq $8, %rax\n"
        "    jmp 1b\n"
        "2:  movl $1, %eax\n"
        "    ret\n"
        ".globl guard_failed\n"
        "guard_failed:\n"
        "    xorl %eax, %eax\n"
        "    ret\n"
        ".size guarded_copy, . - guarded_copy\n"
        ".popsection\n");

MW_SIGNAL_SAFE bool guarded_copy_returns(ucontext_t *context) {
    greg_t *ip = &context->uc_mcontext.gregs[REG_RIP];
    if (*ip != (greg_t)(uintptr_t)guard_load && *ip != (greg_t)(uintptr_t)guard_store) return false;
    *ip = (greg_t)(uintptr_t)guard_failed;
    return true;
}
