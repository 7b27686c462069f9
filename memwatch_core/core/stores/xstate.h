/* xstate.h - the CPU's extended state as xsave lays it out, in signal frames too. Intel SDM volume 1, 10.5 and 13. */
#ifndef MEMWATCH_XSTATE_H
#define MEMWATCH_XSTATE_H

enum xstate_component {
    XSTATE_X87 = 0,
    XSTATE_SSE = 1,       /* the low halves of ymm0..15 */
    XSTATE_YMM = 2,       /* their high halves */
    XSTATE_OPMASK = 5,    /* k0..7 */
    XSTATE_ZMM_HIGH = 6,  /* the high halves of zmm0..15 */
    XSTATE_ZMM_16_31 = 7, /* whole */
    XSTATE_COMPONENTS = 32
};
#define XSTATE_BIT(component) (1u << (component))

enum { /* offsets in the area that fxsave64 writes, with which that of xsave begins */
       FXSAVE_IP = 8,
       FXSAVE_DATA = 16,
       FXSAVE_MXCSR = 24,
       FXSAVE_X87 = 32,
       FXSAVE_SSE = 160,
       FXSAVE_SIZE = 512
};
enum {
    XSTATE_HEADER_SIZE = 64
}; /* behind it; begins with XSTATE_BV: the components that aren't in their initial state */
#endif
