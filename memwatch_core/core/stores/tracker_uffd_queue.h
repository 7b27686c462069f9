/* tracker_uffd_queue.h - the tracker whose messages a thread of ours takes. */
#ifndef MEMWATCH_TRACKER_UFFD_QUEUE_H
#define MEMWATCH_TRACKER_UFFD_QUEUE_H
#include "base/compiler.h"

MW_HIDDEN void queue_look_again(void); /* userfaultfd's descriptor has another number: the thread asks for it again */
#endif
