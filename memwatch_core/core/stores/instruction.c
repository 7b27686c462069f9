/* instruction.c - from the bytes of an instruction to what the executor must know of it.
 *
 * Decoding is Zydis's (no allocation, no state). A form depends on nothing but the instruction's bytes, so it is found
 * by content: the address is only a hint, since just-in-time compilers use addresses again. x86 encodings are
 * prefix-free, so comparing a form's bytes one after the other never reads beyond the instruction that is there. */
#include "stores/instruction.h"

#include <Zydis/Zydis.h>
#include <string.h>

#include "base/lock.h"
#include "base/thread.h"
#include "memory/arena.h"
#include "memwatch.h"
#include "state.h"
#include "stores/breakpoint.h"
#include "stores/code_blocks.h"

#define BUCKETS 16384u
#define XSTATE_X87 1u
#define XSTATE_SSE 2u
#define XSTATE_VECTOR 0xe6u /* SSE, AVX, opmask, ZMM_Hi256, Hi16_ZMM */
#define XSTATE_ALL UINT32_MAX

int form_open(void) {
    mw.instructions.rows = arena_table(INSTRUCTIONS_MAX * sizeof *mw.instructions.rows);
    mw.instructions.buckets = arena_table(BUCKETS * sizeof *mw.instructions.buckets);
    mw.instructions.cache = arena_table(INSTRUCTION_CACHE * sizeof *mw.instructions.cache);
    return mw.instructions.rows && mw.instructions.buckets && mw.instructions.cache ? MW_OK : MW_ERR_NO_MEMORY;
}

MW_SIGNAL_SAFE static uint8_t general_register(ZydisRegister reg) {
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    if (whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15) return (uint8_t)(whole - ZYDIS_REGISTER_RAX);
    return REG_NONE;
}

/* ---- the executable copy ---- */

MW_SIGNAL_SAFE static bool is_segment_prefix(uint8_t b) {
    return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65;
}
MW_SIGNAL_SAFE static bool is_other_prefix(uint8_t b) {
    return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3;
}

/* The segment of an operand that the instruction's bytes don't spell out: 0 none, 1 fs, 2 gs. */
MW_SIGNAL_SAFE static uint8_t segment_prefix(const struct form *form) {
    uint8_t segment = 0;
    for (unsigned i = 0; i < form->length; i++) {
        uint8_t b = form->bytes[i];
        if (!is_segment_prefix(b) && !is_other_prefix(b) && (b & 0xf0) != 0x40) break; /* 4x: REX */
        if (b == 0x64 || b == 0x65) segment = b == 0x64 ? 1 : 2;
    }
    return segment;
}

/* The B bit that extends ModRM.rm, from whichever prefix carries it: chooses between rax..rdi and r8..r15. */
MW_SIGNAL_SAFE static bool extends_rm(const uint8_t *behind_prefixes) {
    switch (behind_prefixes[0]) {
    case 0x62: /* EVEX */
    case 0xc4: /* three-byte VEX */ return !(behind_prefixes[1] & 0x20);
    case 0xc5: return false;
    default: return (behind_prefixes[0] & 0xf1) == 0x41; /* REX with B */
    }
}

/* GS prefix + the instruction without segment prefixes; a RIP-relative operand becomes [unused register + disp32].
 * Returns the length, 0 if it can't be made. */
MW_SIGNAL_SAFE static unsigned relocate(struct form *form, const ZydisDecodedInstruction *in, uint32_t used_registers,
                                        uint8_t out[16]) {
    unsigned prefixes = 0, n = 1;
    while (is_segment_prefix(form->bytes[prefixes]) || is_other_prefix(form->bytes[prefixes])) prefixes++;
    out[0] = 0x65;
    for (unsigned i = 0; i < prefixes; i++) {
        bool again = false; /* repeated prefixes say nothing new, and we need room for ours */
        for (unsigned k = 1; k < n; k++) again |= out[k] == form->bytes[i];
        if (!is_segment_prefix(form->bytes[i]) && !again) out[n++] = form->bytes[i];
    }
    if (n + form->length - prefixes > 15) return 0;
    memcpy(out + n, form->bytes + prefixes, form->length - prefixes);
    if (form->relative) {
        unsigned bank = extends_rm(form->bytes + prefixes) ? 8 : 0, reg;
        for (reg = 0; reg < 8; reg++)
            if (reg != 4 && !(used_registers & 1u << (bank + reg))) break; /* 4 would mean a SIB byte */
        if (reg == 8) return 0;
        uint8_t *modrm = out + n + (in->raw.modrm.offset - prefixes);
        *modrm = (uint8_t)((*modrm & 0x38) | 0x80 | reg);
        form->base = (uint8_t)(bank + reg);
    }
    return n + form->length - prefixes;
}

/* ---- classification ---- */

struct operands {
    const ZydisDecodedOperand *written, *source;
    uint32_t registers; /* general registers that the instruction names or implies */
    bool vector, x87;
};

MW_SIGNAL_SAFE static struct operands survey(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *operand) {
    struct operands found = {0};
    for (unsigned i = 0; i < in->operand_count; i++) {
        const ZydisDecodedOperand *o = &operand[i];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            if (o->mem.type != ZYDIS_MEMOP_TYPE_AGEN && (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
                !found.written)
                found.written = o;
            for (unsigned k = 0; k < 2; k++) {
                uint8_t reg = general_register(k ? o->mem.index : o->mem.base);
                if (reg != REG_NONE) found.registers |= 1u << reg;
            }
        } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            uint8_t reg = general_register(o->reg.value);
            if (reg != REG_NONE) found.registers |= 1u << reg;
            ZydisRegisterClass class = ZydisRegisterGetClass(o->reg.value);
            found.vector |= class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM || class == ZYDIS_REGCLASS_ZMM ||
                            class == ZYDIS_REGCLASS_MASK;
            found.x87 |= class == ZYDIS_REGCLASS_X87 || class == ZYDIS_REGCLASS_MMX;
            if (!found.source && (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) &&
                o->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
                found.source = o;
        } else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && !found.source) {
            found.source = o;
        }
    }
    found.x87 |= in->meta.isa_ext == ZYDIS_ISA_EXT_X87;
    return found;
}

MW_SIGNAL_SAFE static void take_address(struct form *form, const ZydisDecodedInstruction *in,
                                        const ZydisDecodedOperand *memory) {
    form->relative = memory->mem.base == ZYDIS_REGISTER_RIP || memory->mem.base == ZYDIS_REGISTER_EIP;
    form->base = general_register(memory->mem.base);
    form->index = general_register(memory->mem.index);
    form->scale = memory->mem.scale;
    form->displacement = memory->mem.disp.has_displacement ? memory->mem.disp.value : 0;
    form->segment = memory->mem.segment == ZYDIS_REGISTER_FS ? 1 : memory->mem.segment == ZYDIS_REGISTER_GS ? 2 : 0;
    form->address_bytes = in->address_width == 32 ? 4 : 8;
}

MW_SIGNAL_SAFE static void classify_push(struct form *form, const ZydisDecodedInstruction *in,
                                         const ZydisDecodedOperand *operand) {
    form->kind = in->mnemonic == ZYDIS_MNEMONIC_CALL ? FORM_CALL : FORM_PUSH;
    form->size = in->operand_width / 8;
    const ZydisDecodedOperand *o = &operand[0];
    if (in->mnemonic == ZYDIS_MNEMONIC_PUSHFQ || in->mnemonic == ZYDIS_MNEMONIC_PUSHF) {
        form->source_kind = OPERAND_FLAGS;
    } else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        form->source_kind = OPERAND_IMMEDIATE;
        form->immediate = o->imm.value.s;
    } else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        form->source_kind = OPERAND_MEMORY;
        take_address(form, in, o);
    } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && general_register(o->reg.value) != REG_NONE) {
        form->source_kind = OPERAND_REGISTER;
        form->source = general_register(o->reg.value);
    } else {
        form->kind = FORM_REFUSED;
    }
    if (form->size != 8 && !(form->kind == FORM_PUSH && form->size == 2)) form->kind = FORM_REFUSED;
}

MW_SIGNAL_SAFE static void classify_scatter(struct form *form, const ZydisDecodedInstruction *in,
                                            const ZydisDecodedOperand *operand, const ZydisDecodedOperand *written) {
    form->kind = FORM_SCATTER;
    form->size = (uint16_t)(written->element_size / 8);
    for (unsigned i = 0; i < in->operand_count; i++) {
        const ZydisDecodedOperand *o = &operand[i];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        if (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_MASK)
            form->source = (uint8_t)ZydisRegisterGetId(o->reg.value);
        else {
            form->vector = (uint8_t)ZydisRegisterGetId(o->reg.value);
            form->elements = (uint8_t)(o->size / 8 / form->size);
        }
    }
    form->vector_index = (uint8_t)ZydisRegisterGetId(written->mem.index);
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_VPSCATTERQD:
    case ZYDIS_MNEMONIC_VPSCATTERQQ:
    case ZYDIS_MNEMONIC_VSCATTERQPD:
    case ZYDIS_MNEMONIC_VSCATTERQPS: form->index_bytes = 8; break;
    default: form->index_bytes = 4;
    }
    unsigned index_elements =
        ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, written->mem.index) / 8u / form->index_bytes;
    if (index_elements < form->elements) form->elements = (uint8_t)index_elements;
    form->index = REG_NONE;
}

MW_SIGNAL_SAFE static void classify_string(struct form *form, const ZydisDecodedInstruction *in) {
    form->size = (uint16_t)(in->operand_width / 8);
    form->kind = FORM_STRING;
    form->repeat = (in->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
    form->address_bytes = in->address_width == 32 ? 4 : 8;
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_STOSB: form->size = 1; break;
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_STOSW: form->size = 2; break;
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_STOSD: form->size = 4; break;
    default: form->size = 8;
    }
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ: form->moves = 1; break;
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ: break;
    default: form->kind = FORM_REFUSED;
    }
    form->segment = segment_prefix(form);
}

MW_SIGNAL_SAFE static void classify(struct form *form, const ZydisDecodedInstruction *in,
                                    const ZydisDecodedOperand *operand, const struct operands *found) {
    /* #lizard forgives: one branch a mnemonic */
    form->base = form->index = REG_NONE;
    form->address_bytes = in->address_width == 32 ? 4 : 8;
    if (in->meta.category == ZYDIS_CATEGORY_STRINGOP) {
        classify_string(form, in);
        return;
    }
    if (in->meta.category == ZYDIS_CATEGORY_PUSH || in->mnemonic == ZYDIS_MNEMONIC_CALL) {
        if (in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return;
        classify_push(form, in, operand);
        return;
    }
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_MOVDIR64B:
        form->kind = FORM_MOVDIR64B;
        form->size = 64;
        form->source = general_register(operand[0].reg.value); /* destination address */
        for (unsigned i = 0; i < in->operand_count; i++)
            if (operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
                operand[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
                take_address(form, in, &operand[i]);
        return;
    case ZYDIS_MNEMONIC_CLZERO:
        form->kind = FORM_CLZERO;
        form->size = 64;
        form->segment = segment_prefix(form);
        return;
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_ENQCMD:
    case ZYDIS_MNEMONIC_ENQCMDS:
    case ZYDIS_MNEMONIC_TILESTORED: return; /* refused */
    default: break;
    }
    const ZydisDecodedOperand *written = found->written;
    if (!written) return;
    take_address(form, in, written);
    if (written->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        classify_scatter(form, in, operand, written);
        return;
    }
    form->size = (uint16_t)(written->size / 8);
    form->kind = form->size > STORE_MAX ? FORM_WIDE : FORM_RUN;
    form->restore = (found->vector ? XSTATE_VECTOR : 0) | (found->x87 ? XSTATE_X87 : 0);
    form->x87_back = found->x87;
    form->masked = in->avx.mask.reg != ZYDIS_REGISTER_NONE && in->avx.mask.reg != ZYDIS_REGISTER_K0;
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B: form->conditional = IF_EQUAL; break;
    case ZYDIS_MNEMONIC_FST:
    case ZYDIS_MNEMONIC_FSTP:
    case ZYDIS_MNEMONIC_FIST:
    case ZYDIS_MNEMONIC_FISTP:
    case ZYDIS_MNEMONIC_FISTTP:
    case ZYDIS_MNEMONIC_FBSTP: form->conditional = IF_NUMERIC; break;
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            form->bit_offset = (uint8_t)form->size;
            form->source = general_register(operand[1].reg.value);
        }
        break;
    case ZYDIS_MNEMONIC_POP: /* [rsp + n] means the stack pointer after the pop */
        if (form->base == 4) form->displacement += form->size;
        break;
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ: form->masked = 1; break;
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU: form->masked = 2; break;
    case ZYDIS_MNEMONIC_VEXTRACTF32X4: /* exception class E6NF: no fault suppression. Intel SDM volume 2, 2.8 */
    case ZYDIS_MNEMONIC_VEXTRACTF32X8:
    case ZYDIS_MNEMONIC_VEXTRACTF64X2:
    case ZYDIS_MNEMONIC_VEXTRACTF64X4:
    case ZYDIS_MNEMONIC_VEXTRACTI32X4:
    case ZYDIS_MNEMONIC_VEXTRACTI32X8:
    case ZYDIS_MNEMONIC_VEXTRACTI64X2:
    case ZYDIS_MNEMONIC_VEXTRACTI64X4: form->masked *= 2; break;
    case ZYDIS_MNEMONIC_VCVTPS2PH: form->mxcsr_back = 1; break;
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR: form->restore = XSTATE_SSE; break;
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
        form->kind = FORM_WIDE;
        form->size = 512;
        form->restore = XSTATE_ALL;
        form->x87_back = 0;
        break;
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
        form->kind = FORM_WIDE;
        form->size = 0;
        form->moves = in->mnemonic == ZYDIS_MNEMONIC_XSAVEC || in->mnemonic == ZYDIS_MNEMONIC_XSAVEC64; /* compacted */
        form->restore = XSTATE_ALL;
        form->x87_back = 0;
        break;
    default:
        if (!form->size) form->kind = FORM_REFUSED;
    }
}

/* Fills `form` from `bytes`; its block is made by the caller. `copy` receives the relocated instruction. */
MW_SIGNAL_SAFE static bool decode(struct form *form, const uint8_t *bytes, unsigned available, uint8_t copy[16],
                                  unsigned *copy_length) {
    ZydisDecoder decoder;
    ZydisDecodedInstruction in;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, available, &in, operand)))
        return false;
    memset(form, 0, sizeof *form);
    form->length = in.length;
    memcpy(form->bytes, bytes, in.length);
    struct operands found = survey(&in, operand);
    classify(form, &in, operand, &found);
    *copy_length = 0;
    if (form->kind == FORM_RUN || form->kind == FORM_WIDE) {
        *copy_length = relocate(form, &in, found.registers, copy);
        if (!*copy_length) form->kind = FORM_REFUSED;
    }
    return true;
}

/* ---- finding ---- */

MW_SIGNAL_SAFE static inline bool same(const struct form *form, const uint8_t *bytes) {
    for (unsigned i = 0; i < form->length; i++)
        if (form->bytes[i] != bytes[i]) return false;
    return true;
}

MW_SIGNAL_SAFE static uint32_t content_hash(const struct form *form) {
    uint64_t h = form->length;
    for (unsigned i = 0; i < form->length; i++) h = (h ^ form->bytes[i]) * 0x100000001B3ULL;
    return (uint32_t)(h >> 20) & (BUCKETS - 1);
}

MW_SIGNAL_SAFE static struct form *known(const struct form *fresh, uint32_t bucket) {
    for (uint32_t i = mw.instructions.buckets[bucket]; i; i = mw.instructions.rows[i - 1].next)
        if (mw.instructions.rows[i - 1].length == fresh->length && same(&mw.instructions.rows[i - 1], fresh->bytes))
            return &mw.instructions.rows[i - 1];
    return NULL;
}

MW_SIGNAL_SAFE static bool decode_at(uintptr_t ip, struct form *form, uint8_t copy[16], unsigned *copy_length) {
    uint8_t bytes[15];
    unsigned room = MW_PAGE_SIZE - (unsigned)(ip & PAGE_MASK), have = room < 15 ? room : 15;
    memcpy(bytes, (const void *)ip, have);
    if (bytes[0] == INT3 && !breakpoint_lift(ip, bytes)) return false; /* int3 itself stores nothing */
    if (decode(form, bytes, have, copy, copy_length)) return true;
    if (have == 15) return false;
    memcpy(bytes + have, (const uint8_t *)ip + have, 15 - have); /* it goes on on the next page, which must be there */
    return decode(form, bytes, 15, copy, copy_length);
}

MW_SIGNAL_SAFE static __attribute__((noinline)) struct form *learn(uintptr_t ip, bool *overflow) {
    uint8_t copy[16];
    unsigned copy_length;
    struct form fresh;
    if (!decode_at(ip, &fresh, copy, &copy_length)) return NULL;
    uint32_t bucket = content_hash(&fresh);
    lock_take(&mw.instructions.lock, thread_id());
    struct form *form = known(&fresh, bucket);
    if (!form && mw.instructions.count < INSTRUCTIONS_MAX) {
        fresh.block = copy_length ? code_block(copy, copy_length) : NULL;
        if (fresh.block || !copy_length) {
            form = &mw.instructions.rows[mw.instructions.count];
            *form = fresh;
            form->next = mw.instructions.buckets[bucket];
            mw.instructions.buckets[bucket] = ++mw.instructions.count;
        }
    }
    lock_release(&mw.instructions.lock);
    if (form) return form;
    /* The table is full, as just-in-time compilers can make it: one form that all threads take turns with. */
    lock_take(&mw.instructions.overflow_lock, thread_id());
    *overflow = true;
    mw.instructions.overflow = fresh;
    if (copy_length) mw.instructions.overflow.block = code_overflow_block(copy, copy_length);
    return &mw.instructions.overflow;
}

MW_SIGNAL_SAFE struct form *form_at(uintptr_t ip, bool *overflow) {
    _Atomic(struct form *) *slot = &mw.instructions.cache[(ip * 0x9E3779B97F4A7C15ULL) >> 51];
    struct form *form = atomic_load_explicit(slot, memory_order_acquire);
    *overflow = false;
    if (likely(form && same(form, (const uint8_t *)ip))) return form;
    form = learn(ip, overflow);
    if (form && !*overflow) atomic_store_explicit(slot, form, memory_order_release);
    return form;
}

MW_SIGNAL_SAFE void form_overflow_done(void) { lock_release(&mw.instructions.overflow_lock); }
