/* run_result.h - what has become of a store. */
#ifndef MEMWATCH_RUN_RESULT_H
#define MEMWATCH_RUN_RESULT_H

enum run_result {
    RUN_DONE,
    RUN_REFUSED,
    RUN_NOT_OURS,
    RUN_FAULT,  /* a part of the destination is not ours and can't be written: mw_thread.fault says where */
    RUN_RAISED, /* stored nothing: the program gets a signal at this instruction, which is on its way */
    RUN_LATER /* stored nothing: the program goes on, and if it is to store, comes back (uffd-queue, guarded_copy.c) */
};
#endif
