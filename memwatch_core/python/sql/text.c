/* text.c - see text.h. */
#include "sql/text.h"
#include "text/parameter.h"

bool mwpy_text_grow(mwpy_text *t, size_t n) {
    size_t room = t->room * 2 > t->n + n ? t->room * 2 : t->n + n;
    char *more = t->failed ? NULL : PyMem_Realloc(t->at == t->own ? NULL : t->at, room);
    if (!more) {
        t->failed = true;
        return false;
    }
    if (t->at == t->own) memcpy(more, t->own, t->n);
    t->at = more;
    t->room = room;
    return true;
}

void mwpy_put_number(mwpy_text *t, uint64_t number) {
    char digits[20];
    mwpy_put(t, digits, sql_digits(digits, number));
}

void mwpy_put_hex(mwpy_text *t, uint64_t number) {
    char digits[16];
    for (int i = 15; i >= 0; i--, number >>= 4) digits[i] = "0123456789abcdef"[number & 15];
    mwpy_put(t, digits, sizeof digits);
}

static void put_escaped(mwpy_text *t, const char *utf8, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)utf8[i];
        if (c == '"' || c == '\\') {
            mwpy_put(t, "\\", 1);
        } else if (c < 0x20) {
            MWPY_PUT(t, "\\u00");
            mwpy_put(t, &"0123456789abcdef"[c >> 4], 1);
            c = (unsigned char)"0123456789abcdef"[c & 15];
        }
        mwpy_put(t, (char *)&c, 1);
    }
}

int mwpy_put_json(mwpy_text *t, PyObject *str, Py_ssize_t most) {
    bool cut = PyUnicode_GET_LENGTH(str) > most;
    if (PyUnicode_IS_ASCII(str)) {
        put_escaped(t, PyUnicode_DATA(str), (size_t)(cut ? most : PyUnicode_GET_LENGTH(str)));
    } else {
        PyObject *part = cut ? PyUnicode_Substring(str, 0, most) : Py_NewRef(str);
        PyObject *utf8 = part ? PyUnicode_AsEncodedString(part, "utf-8", "replace") : NULL;
        Py_XDECREF(part);
        if (!utf8) return -1;
        put_escaped(t, PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
        Py_DECREF(utf8);
    }
    if (cut) MWPY_PUT(t, "…");
    return 0;
}
