/* value.h - any value in words, as the program would write it. */
#ifndef MEMWATCH_PYTHON_VALUE_H
#define MEMWATCH_PYTHON_VALUE_H
#include "places/words.h"

void mwpy_say_value(mwpy_words *t, PyObject *value, int level);
static inline mwpy_words mwpy_no_words(size_t most) {
    return (mwpy_words){.most = most < MWPY_WORDS ? most : MWPY_WORDS, .value = mwpy_say_value};
}
#endif
