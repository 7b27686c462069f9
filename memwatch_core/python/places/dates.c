/* dates.c - the types of datetime, as the interpreter's header lays them out; timezone, which isn't in it, too. */
#include "places/known_types.h"
#include "places/types.h"
#include "places/words.h"

#include <stdlib.h>
#include <string.h>

#define _PY_DATETIME_IMPL /* the layouts alone: what the header imports otherwise, the program may not have */
#include <datetime.h>

typedef struct fixed_zone {
    PyObject_HEAD PyObject *offset, *name; /* a timedelta; a str or NULL */
} fixed_zone;

static bool is_delta(PyObject *value) {
    return mwpy_is_c_type(Py_TYPE(value), "datetime.timedelta", sizeof(PyDateTime_Delta));
}

/* The fixed offset of a time zone; NULL: it is another kind of zone. */
static const PyDateTime_Delta *offset_of(PyObject *zone) {
    if (!mwpy_is_c_type(Py_TYPE(zone), "datetime.timezone", sizeof(fixed_zone))) return NULL;
    PyObject *offset = ((fixed_zone *)zone)->offset;
    return offset && is_delta(offset) ? (PyDateTime_Delta *)offset : NULL;
}

static bool is_utc(PyObject *zone, const PyDateTime_Delta *offset) {
    return !((fixed_zone *)zone)->name && !PyDateTime_DELTA_GET_DAYS(offset) && !PyDateTime_DELTA_GET_SECONDS(offset) &&
           !PyDateTime_DELTA_GET_MICROSECONDS(offset);
}

static void put_offset(mwpy_words *t, const PyDateTime_Delta *offset) {
    int days = PyDateTime_DELTA_GET_DAYS(offset), seconds = PyDateTime_DELTA_GET_SECONDS(offset),
        micros = PyDateTime_DELTA_GET_MICROSECONDS(offset);
    int64_t all = ((int64_t)days * 86400 + seconds) * 1000000 + micros, size = llabs(all);
    int64_t whole = size / 1000000;
    mwpy_say_format(t, "%c%02d:%02d", all < 0 ? '-' : '+', (int)(whole / 3600), (int)(whole / 60 % 60));
    if (size % 60000000) mwpy_say_format(t, ":%02d", (int)(whole % 60));
    if (size % 1000000) mwpy_say_format(t, ".%06d", (int)(size % 1000000));
}

/* A zone with rules of its own is its type: which offset they give isn't known without asking them. */
static void put_zone(mwpy_words *t, PyObject *zone) {
    const PyDateTime_Delta *offset = offset_of(zone);
    mwpy_say_string(t, ", tzinfo=");
    if (!offset) {
        mwpy_say_string(t, "<");
        mwpy_say_type_name(t, Py_TYPE(zone));
        mwpy_say_string(t, ">");
    } else if (is_utc(zone, offset)) {
        mwpy_say_string(t, "UTC");
    } else {
        put_offset(t, offset);
    }
}

static void put_seconds(mwpy_words *t, int seconds, int micros) {
    if (seconds || micros) mwpy_say_format(t, ", %d", seconds);
    if (micros) mwpy_say_format(t, ", %d", micros);
}

static bool put_date(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    mwpy_say_format(t, "date(%d, %d, %d)", PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value),
                    PyDateTime_GET_DAY(value));
    return true;
}

static bool put_datetime(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    const PyDateTime_DateTime *d = (PyDateTime_DateTime *)value;
    mwpy_say_format(t, "datetime(%d, %d, %d, %d, %d", PyDateTime_GET_YEAR(d), PyDateTime_GET_MONTH(d),
                    PyDateTime_GET_DAY(d), PyDateTime_DATE_GET_HOUR(d), PyDateTime_DATE_GET_MINUTE(d));
    put_seconds(t, PyDateTime_DATE_GET_SECOND(d), PyDateTime_DATE_GET_MICROSECOND(d));
    if (d->hastzinfo) put_zone(t, d->tzinfo);
    if (PyDateTime_DATE_GET_FOLD(d)) mwpy_say_string(t, ", fold=1");
    mwpy_say_string(t, ")");
    return true;
}

static bool put_time(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    const PyDateTime_Time *d = (PyDateTime_Time *)value;
    mwpy_say_format(t, "time(%d, %d", PyDateTime_TIME_GET_HOUR(d), PyDateTime_TIME_GET_MINUTE(d));
    put_seconds(t, PyDateTime_TIME_GET_SECOND(d), PyDateTime_TIME_GET_MICROSECOND(d));
    if (d->hastzinfo) put_zone(t, d->tzinfo);
    if (PyDateTime_TIME_GET_FOLD(d)) mwpy_say_string(t, ", fold=1");
    mwpy_say_string(t, ")");
    return true;
}

static bool put_delta(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    (void)with, (void)level;
    const char *names[] = {"days", "seconds", "microseconds"}, *before = "";
    int parts[] = {PyDateTime_DELTA_GET_DAYS(value), PyDateTime_DELTA_GET_SECONDS(value),
                   PyDateTime_DELTA_GET_MICROSECONDS(value)};
    mwpy_say_string(t, "timedelta(");
    for (size_t i = 0; i < Py_ARRAY_LENGTH(parts); i++) {
        if (!parts[i]) continue;
        mwpy_say_format(t, "%s%s=%d", before, names[i], parts[i]);
        before = ", ";
    }
    mwpy_say_string(t, *before ? ")" : "0)");
    return true;
}

static bool put_timezone(mwpy_words *t, PyObject *value, PyObject *with, int level) {
    const PyDateTime_Delta *offset = offset_of(value);
    PyObject *name = ((fixed_zone *)value)->name;
    if (!offset) return false;
    if (is_utc(value, offset)) {
        mwpy_say_string(t, "timezone.utc");
        return true;
    }
    mwpy_say_string(t, "timezone(");
    put_delta(t, (PyObject *)offset, with, level);
    if (name && PyUnicode_Check(name)) {
        mwpy_say_string(t, ", ");
        mwpy_say_str(t, name, '\'');
    }
    mwpy_say_string(t, ")");
    return true;
}

mwpy_putter mwpy_date_putter(const PyTypeObject *type) {
    const struct {
        const char *name;
        size_t size;
        mwpy_putter put;
    } known[] = {
        {"datetime.datetime", sizeof(PyDateTime_DateTime), put_datetime},
        {"datetime.date", sizeof(PyDateTime_Date), put_date},
        {"datetime.time", sizeof(PyDateTime_Time), put_time},
        {"datetime.timedelta", sizeof(PyDateTime_Delta), put_delta},
        {"datetime.timezone", sizeof(fixed_zone), put_timezone},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known); i++)
        if (mwpy_is_c_type(type, known[i].name, known[i].size)) return known[i].put;
    return NULL;
}
