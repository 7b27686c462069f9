/* statement_read.c - the core's reading of a statement's text. */
#include "sql/statement_read.h"
#include "text/statement.h"

PyObject *mwpy_statement_read(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (n != 2 || !PyUnicode_Check(args[0]) || !PyUnicode_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "read_statement() takes a statement and a dialect, both text");
    Py_ssize_t length;
    const char *name = PyUnicode_AsUTF8AndSize(args[1], &length);
    if (!name) PyErr_Clear(); /* no dialect has half a character in its name */
    enum sql_dialect dialect = name ? sql_dialect_of(name, (size_t)length) : SQL_UNKNOWN;

    PyObject *part = PyUnicode_Substring(args[0], 0, SQL_CHARACTERS_MAX + 1); /* returns itself if short enough */
    PyObject *utf8 = part ? PyUnicode_AsEncodedString(part, "utf-8", "replace") : NULL;
    Py_XDECREF(part);
    if (!utf8) return NULL;
    length = PyBytes_GET_SIZE(utf8);
    char own[4096], *buffer = own;
    if (sql_buffer_size((size_t)length) > sizeof own && !(buffer = PyMem_Malloc(sql_buffer_size((size_t)length)))) {
        Py_DECREF(utf8);
        return PyErr_NoMemory();
    }
    struct sql_statement read;
    sql_read(PyBytes_AS_STRING(utf8), (size_t)length, dialect, buffer, &read);
    Py_DECREF(utf8);

    PyObject *text = PyUnicode_DecodeUTF8(read.text, (Py_ssize_t)read.length, NULL), *result = NULL;
    PyObject *savepoint = PyUnicode_DecodeUTF8(read.savepoint, (Py_ssize_t)read.savepoint_length, NULL);
    if (buffer != own) PyMem_Free(buffer);
    if (savepoint && !read.keeps_case && !PyUnicode_IS_ASCII(savepoint))
        Py_SETREF(savepoint, PyObject_CallMethod(savepoint, "lower", NULL));
    if (text && savepoint) result = Py_BuildValue("OiO", text, (int)read.action, savepoint);
    Py_XDECREF(text);
    Py_XDECREF(savepoint);
    return result;
}
