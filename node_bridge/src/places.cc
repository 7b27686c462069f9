/* places.cc - see places.h. No V8 function runs, nothing is allocated; what was found for an instruction is kept with
 * it.
 *
 * Optimised code may contain other functions, inlined, and V8 doesn't say which position belongs to which script. It is
 * certain if V8's own tables say it (inlining.cc), if only one script has a store or a call there, or if every position
 * of the code exists in its own script; what can't be decided is marked inexact, never guessed. */
#include "places.h"

#include <algorithm>

namespace memwatch {

place *place_in(code *c, uintptr_t pc) {
    uint32_t offset = (uint32_t)(pc - c->start);
    auto next = std::upper_bound(c->places.begin(), c->places.end(), offset,
                                 [](uint32_t o, const place &p) { return o < p.offset; });
    return next == c->places.begin() ? &c->whole : &*std::prev(next);
}

/* A place in a function; in the file that it was written in, if the generated one has a map that knows. */
void settle(place *p, const code *in, uint32_t line, uint32_t column, bool exact) {
    const std::string *file = &in->from->file, *function = &in->function;
    const source_map *map = in->from->map.get();
    const source_map::row *row = map ? map->find(line, column) : nullptr;
    if (map) {
        const std::string *name = row ? map->name_before(in->line, in->column, function->size()) : nullptr;
        if (row) {
            file = &map->sources[row->source];
            line = (uint32_t)row->source_line + 1;
            column = (uint32_t)row->source_column + 1;
        }
        if (name) function = name;
    }
    if (!row) { /* the script's own line: of the file only if that is what the file says */
        exact = exact && in->from->text.has_lines_of_file;
        if (line == 1 && !in->from->text.has_columns_of_file) column = 0;
    }
    p->site = mw_intern_site(file->data(), file->size(), function->data(), function->size(), line, column);
    p->exact = exact;
    p->internal = in->from->internal;
    p->known = p->site != 0;
}

const place *at_position(const code *c, int32_t position) {
    for (const place &p : c->places)
        if (p.position == position) return &p;
    return nullptr;
}

/* The place at `position` whose operation can store. */
const place *storing_at(const state *s, const code *c, int32_t position) {
    for (const place &p : c->places)
        if (p.position == position && (!s->operations_known || s->operations[p.operation])) return &p;
    return nullptr;
}

/* Whether all positions of optimised code occur in its own script: then nothing of another one was inlined. The first
 * is where the function itself begins. */
bool all_of_own_script(state *s, const code *c) {
    for (const place &p : c->places) {
        bool found = p.position < 0 || p.position == c->places.front().position;
        for (auto it = s->codes.begin(); !found && it != s->codes.end(); ++it)
            found = it->second->bytecode && it->second->from == c->from && at_position(it->second.get(), p.position);
        if (!found) return false;
    }
    return true;
}

/* Whether a function of another script, one place of which is at `position`, can be inlined in `c`. The code of a
 * module runs once, from C++. Of a longer function something else would have to be there too. */
bool may_be_inlined(const code *candidate, const code *c, int32_t position) {
    if (candidate->line == 1 && candidate->column == 1) return false;
    unsigned others = 0;
    for (const place &p : candidate->places) {
        if (p.position == position) continue;
        if (at_position(c, p.position)) return true;
        others++;
    }
    return others < 6;
}

void resolve_optimised(state *s, code *c, place *p) {
    const code *own = nullptr, *other = nullptr;
    bool several = false;
    for (auto &entry : s->codes) {
        const code *candidate = entry.second.get();
        if (!candidate->bytecode || !candidate->from || p == &c->whole) continue;
        if (!storing_at(s, candidate, p->position)) continue;
        if (candidate->from == c->from) {
            own = candidate;
        } else if (may_be_inlined(candidate, c, p->position)) {
            several |= other && other->from != candidate->from;
            other = candidate;
        }
    }
    const code *home = own ? own : other;
    if (own ? !other || all_of_own_script(s, c) : other && !several) {
        const place *q = storing_at(s, home, p->position);
        settle(p, home, q->line, q->column, true);
    } else {
        settle(p, c, c->line, c->column, false);
    }
}

/* A place of which V8's tables say whose it is. */
void resolve_inlined(const code *c, const code *function, place *p) {
    const place *q = function ? at_position(function, p->position) : nullptr;
    if (q)
        settle(p, function, q->line, q->column, true);
    else if (function)
        settle(p, function, function->line, function->column, false);
    else
        settle(p, c, c->line, c->column, false);
}

/* Whether a store can come from this place: not each instruction has a row of its own, but calls have. */
bool can_store(const state *s, const code *function, const place *p) {
    if (!function) return false;
    return storing_at(s, function, p->position) || (function->from->internal && function->places.empty());
}

place *resolve_whole(code *c) {
    if (!c->whole.known) settle(&c->whole, c, c->line, c->column, false);
    return &c->whole;
}

/* What is known of the place of `pc` in code of a script. */
place *resolve(state *s, code *c, uintptr_t pc) {
    place *p = place_in(c, pc);
    if (p->known) return p;
    if (!c->bytecode)
        resolve_optimised(s, c, p);
    else if (p == &c->whole)
        settle(p, c, c->line, c->column, false);
    else
        settle(p, c, p->line, p->column, true);
    return p;
}

} // namespace memwatch
