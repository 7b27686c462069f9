/* decoding.c - from the bytes of an instruction to what the executor must know of it. Decoding is Zydis's (no
 * allocation, no state); how an instruction stores is told by its operands, and by the table of rules for those that
 * are unlike others. Intel SDM volume 2. */
#include "stores/decoding.h"

#include <Zydis/Zydis.h>
#include <string.h>

#include "stores/xstate.h"

#define RESTORE_VECTORS                                                                                                \
    (XSTATE_BIT(XSTATE_SSE) | XSTATE_BIT(XSTATE_YMM) | XSTATE_BIT(XSTATE_OPMASK) | XSTATE_BIT(XSTATE_ZMM_HIGH) |       \
     XSTATE_BIT(XSTATE_ZMM_16_31))
#define RESTORE_ALL UINT32_MAX
#define LINE_SIZE 64u /* clzero, movdir64b */

MW_SIGNAL_SAFE static uint8_t general_register(ZydisRegister reg) {
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    if (whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15) return (uint8_t)(whole - ZYDIS_REGISTER_RAX);
    return REG_NONE;
}

/* ---- the executable copy ---- */

enum { PREFIX_FS = 0x64, PREFIX_GS = 0x65 };

MW_SIGNAL_SAFE static bool is_segment_prefix(uint8_t b) {
    return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == PREFIX_FS || b == PREFIX_GS;
}
MW_SIGNAL_SAFE static bool is_other_prefix(uint8_t b) {
    return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3;
}

/* The segment of an operand that the instruction's bytes don't spell out. */
MW_SIGNAL_SAFE static uint8_t segment_prefix(const struct instruction *instruction) {
    uint8_t segment = SEGMENT_NONE;
    for (unsigned i = 0; i < instruction->length; i++) {
        uint8_t b = instruction->bytes[i];
        if (!is_segment_prefix(b) && !is_other_prefix(b) && (b & 0xf0) != 0x40) break; /* 4x: REX */
        if (b == PREFIX_FS || b == PREFIX_GS) segment = b == PREFIX_FS ? SEGMENT_FS : SEGMENT_GS;
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
 * Its length stays 0 if it can't be made. */
MW_SIGNAL_SAFE static void relocate(struct instruction *instruction, const ZydisDecodedInstruction *in,
                                    uint32_t used_registers, struct relocated *out) {
    const uint8_t *bytes = instruction->bytes;
    unsigned prefixes = 0, n = 1;
    while (is_segment_prefix(bytes[prefixes]) || is_other_prefix(bytes[prefixes])) prefixes++;
    out->bytes[0] = PREFIX_GS;
    for (unsigned i = 0; i < prefixes; i++) {
        bool again = false; /* repeated prefixes say nothing new, and we need room for ours */
        for (unsigned k = 1; k < n; k++) again |= out->bytes[k] == bytes[i];
        if (!is_segment_prefix(bytes[i]) && !again) out->bytes[n++] = bytes[i];
    }
    unsigned rest = instruction->length - prefixes;
    if (n + rest > INSTRUCTION_LONGEST) return;
    memcpy(out->bytes + n, bytes + prefixes, rest);
    if (instruction->memory.relative) {
        unsigned bank = extends_rm(bytes + prefixes) ? 8 : 0, reg;
        for (reg = 0; reg < 8; reg++) /* RSP's number would mean a SIB byte */
            if (reg != RSP && !(used_registers & 1u << (bank + reg))) break;
        if (reg == 8) return;
        uint8_t *modrm = out->bytes + n + (in->raw.modrm.offset - prefixes);
        *modrm = (uint8_t)((*modrm & 0x38) | 0x80 | reg);
        instruction->memory.base = (uint8_t)(bank + reg);
    }
    out->length = n + rest;
}

/* ---- the rules ---- */

/* How a mnemonic stores, where it isn't run as it is, or its operands don't tell all of it. */
struct rule {
    uint16_t mnemonic;
    uint16_t size;       /* bytes stored, if its operands don't tell */
    uint8_t kind;        /* enum instruction_kind */
    uint8_t condition;   /* enum condition */
    uint8_t restore;     /* xsave components that it reads, if that isn't told by its registers */
    uint8_t index_bytes; /* of a scatter */
    bool moves;          /* movs, not stos */
    bool masked;         /* by a register that isn't an opmask */
    bool all_fault;      /* also bytes that a mask leaves out */
    bool bit_offset;     /* a register may say how many bits further */
    bool pops;           /* an address relative to RSP means RSP after the pop */
    bool pushes_flags;
    bool raises;    /* floating-point exceptions */
    bool compacted; /* xsavec */
};
#define OF(name) .mnemonic = ZYDIS_MNEMONIC_##name

static const struct rule rules[] = {
    {OF(MOVSB), .kind = KIND_STRING, .size = 1, .moves = true},
    {OF(MOVSW), .kind = KIND_STRING, .size = 2, .moves = true},
    {OF(MOVSD), .kind = KIND_STRING, .size = 4, .moves = true},
    {OF(MOVSQ), .kind = KIND_STRING, .size = 8, .moves = true},
    {OF(STOSB), .kind = KIND_STRING, .size = 1},
    {OF(STOSW), .kind = KIND_STRING, .size = 2},
    {OF(STOSD), .kind = KIND_STRING, .size = 4},
    {OF(STOSQ), .kind = KIND_STRING, .size = 8},
    {OF(PUSH), .kind = KIND_PUSH},
    {OF(PUSHF), .kind = KIND_PUSH, .pushes_flags = true},
    {OF(PUSHFQ), .kind = KIND_PUSH, .pushes_flags = true},
    {OF(CALL), .kind = KIND_CALL},
    {OF(ENTER), .kind = KIND_REFUSED},
    {OF(MOVDIR64B), .kind = KIND_MOVDIR64B, .size = LINE_SIZE},
    {OF(CLZERO), .kind = KIND_CLZERO, .size = LINE_SIZE},
    {OF(ENQCMD), .kind = KIND_REFUSED},
    {OF(ENQCMDS), .kind = KIND_REFUSED},
    {OF(TILESTORED), .kind = KIND_REFUSED},
    {OF(VPSCATTERDD), .kind = KIND_SCATTER, .index_bytes = 4},
    {OF(VPSCATTERDQ), .kind = KIND_SCATTER, .index_bytes = 4},
    {OF(VSCATTERDPD), .kind = KIND_SCATTER, .index_bytes = 4},
    {OF(VSCATTERDPS), .kind = KIND_SCATTER, .index_bytes = 4},
    {OF(VPSCATTERQD), .kind = KIND_SCATTER, .index_bytes = 8},
    {OF(VPSCATTERQQ), .kind = KIND_SCATTER, .index_bytes = 8},
    {OF(VSCATTERQPD), .kind = KIND_SCATTER, .index_bytes = 8},
    {OF(VSCATTERQPS), .kind = KIND_SCATTER, .index_bytes = 8},
    {OF(CMPXCHG), .kind = KIND_RUN, .condition = IF_EQUAL},
    {OF(CMPXCHG8B), .kind = KIND_RUN, .condition = IF_EQUAL},
    {OF(CMPXCHG16B), .kind = KIND_RUN, .condition = IF_EQUAL},
    {OF(FST), .kind = KIND_RUN, .condition = IF_NUMERIC},
    {OF(FSTP), .kind = KIND_RUN, .condition = IF_NUMERIC},
    {OF(FIST), .kind = KIND_RUN, .condition = IF_NUMERIC},
    {OF(FISTP), .kind = KIND_RUN, .condition = IF_NUMERIC},
    {OF(FISTTP), .kind = KIND_RUN, .condition = IF_NUMERIC},
    {OF(FBSTP), .kind = KIND_RUN, .condition = IF_NUMERIC},
    {OF(BTS), .kind = KIND_RUN, .bit_offset = true},
    {OF(BTR), .kind = KIND_RUN, .bit_offset = true},
    {OF(BTC), .kind = KIND_RUN, .bit_offset = true},
    {OF(POP), .kind = KIND_RUN, .pops = true},
    {OF(VMASKMOVPS), .kind = KIND_RUN, .masked = true},
    {OF(VMASKMOVPD), .kind = KIND_RUN, .masked = true},
    {OF(VPMASKMOVD), .kind = KIND_RUN, .masked = true},
    {OF(VPMASKMOVQ), .kind = KIND_RUN, .masked = true},
    {OF(MASKMOVQ), .kind = KIND_RUN, .masked = true, .all_fault = true},
    {OF(MASKMOVDQU), .kind = KIND_RUN, .masked = true, .all_fault = true},
    {OF(VMASKMOVDQU), .kind = KIND_RUN, .masked = true, .all_fault = true},
    /* exception class E6NF: no fault suppression. Intel SDM volume 2, 2.8 */
    {OF(VEXTRACTF32X4), .kind = KIND_RUN, .all_fault = true},
    {OF(VEXTRACTF32X8), .kind = KIND_RUN, .all_fault = true},
    {OF(VEXTRACTF64X2), .kind = KIND_RUN, .all_fault = true},
    {OF(VEXTRACTF64X4), .kind = KIND_RUN, .all_fault = true},
    {OF(VEXTRACTI32X4), .kind = KIND_RUN, .all_fault = true},
    {OF(VEXTRACTI32X8), .kind = KIND_RUN, .all_fault = true},
    {OF(VEXTRACTI64X2), .kind = KIND_RUN, .all_fault = true},
    {OF(VEXTRACTI64X4), .kind = KIND_RUN, .all_fault = true},
    {OF(VCVTPS2PH), .kind = KIND_RUN, .raises = true},
    {OF(STMXCSR), .kind = KIND_RUN, .restore = XSTATE_BIT(XSTATE_SSE)},
    {OF(VSTMXCSR), .kind = KIND_RUN, .restore = XSTATE_BIT(XSTATE_SSE)},
    {OF(FXSAVE), .kind = KIND_WIDE, .size = FXSAVE_SIZE},
    {OF(FXSAVE64), .kind = KIND_WIDE, .size = FXSAVE_SIZE},
    {OF(XSAVE), .kind = KIND_WIDE},
    {OF(XSAVE64), .kind = KIND_WIDE},
    {OF(XSAVEOPT), .kind = KIND_WIDE},
    {OF(XSAVEOPT64), .kind = KIND_WIDE},
    {OF(XSAVEC), .kind = KIND_WIDE, .compacted = true},
    {OF(XSAVEC64), .kind = KIND_WIDE, .compacted = true},
};
static const struct rule rule_refused = {.kind = KIND_REFUSED}, rule_run = {.kind = KIND_RUN};

/* Two mnemonics are the string instruction's and another one's: movsd, and cmpsd, which stores nothing. */
MW_SIGNAL_SAFE static const struct rule *rule_for(const ZydisDecodedInstruction *in) {
    bool string = in->meta.category == ZYDIS_CATEGORY_STRINGOP;
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].mnemonic == in->mnemonic && (rules[i].kind == KIND_STRING) == string) return &rules[i];
    return string || in->meta.category == ZYDIS_CATEGORY_PUSH ? &rule_refused : &rule_run;
}

/* ---- operands ---- */

struct operands {
    const ZydisDecodedOperand *all, *written;
    uint32_t registers; /* general registers that the instruction names or implies */
    bool vector, x87;
};

MW_SIGNAL_SAFE static struct operands survey(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *operand) {
    struct operands found = {.all = operand, .x87 = in->meta.isa_ext == ZYDIS_ISA_EXT_X87};
    for (unsigned i = 0; i < in->operand_count; i++) {
        const ZydisDecodedOperand *o = &operand[i];
        ZydisRegister named[2] = {ZYDIS_REGISTER_NONE, ZYDIS_REGISTER_NONE};
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            if (o->mem.type != ZYDIS_MEMOP_TYPE_AGEN && (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
                !found.written)
                found.written = o;
            named[0] = o->mem.base, named[1] = o->mem.index;
        } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            named[0] = o->reg.value;
            ZydisRegisterClass class = ZydisRegisterGetClass(o->reg.value);
            found.vector |= class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM || class == ZYDIS_REGCLASS_ZMM ||
                            class == ZYDIS_REGCLASS_MASK;
            found.x87 |= class == ZYDIS_REGCLASS_X87 || class == ZYDIS_REGCLASS_MMX;
        }
        for (unsigned k = 0; k < 2; k++) {
            uint8_t reg = general_register(named[k]);
            if (reg != REG_NONE) found.registers |= 1u << reg;
        }
    }
    return found;
}

MW_SIGNAL_SAFE static struct memory_operand memory_operand(const ZydisDecodedInstruction *in,
                                                           const ZydisDecodedOperand *o) {
    return (struct memory_operand){
        .displacement = o->mem.disp.has_displacement ? o->mem.disp.value : 0,
        .base = general_register(o->mem.base),
        .index = general_register(o->mem.index),
        .scale = o->mem.scale,
        .segment = o->mem.segment == ZYDIS_REGISTER_FS   ? SEGMENT_FS
                   : o->mem.segment == ZYDIS_REGISTER_GS ? SEGMENT_GS
                                                         : SEGMENT_NONE,
        .address_bytes = in->address_width == 32 ? 4 : 8,
        .relative = o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP,
    };
}

/* ---- classification ---- */

MW_SIGNAL_SAFE static void classify_push(struct instruction *out, const ZydisDecodedInstruction *in,
                                         const struct rule *rule, const ZydisDecodedOperand *o) {
    out->size = in->operand_width / 8;
    bool stores_so_much = out->size == 8 || (rule->kind == KIND_PUSH && out->size == 2);
    if (in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || !stores_so_much) return;
    out->kind = rule->kind;
    if (rule->pushes_flags) {
        out->push.source = PUSH_FLAGS;
    } else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        out->push.source = PUSH_IMMEDIATE;
        out->push.immediate = o->imm.value.s;
    } else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        out->push.source = PUSH_MEMORY;
        out->memory = memory_operand(in, o);
    } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && general_register(o->reg.value) != REG_NONE) {
        out->push.source = PUSH_REGISTER;
        out->push.source_register = general_register(o->reg.value);
    } else {
        out->kind = KIND_REFUSED;
    }
}

MW_SIGNAL_SAFE static void classify_scatter(struct instruction *out, const ZydisDecodedInstruction *in,
                                            const struct rule *rule, const struct operands *found) {
    const ZydisDecodedOperand *written = found->written;
    if (!written || written->mem.type != ZYDIS_MEMOP_TYPE_VSIB) return;
    out->kind = KIND_SCATTER;
    out->size = (uint16_t)(written->element_size / 8);
    out->memory = memory_operand(in, written);
    out->memory.index = REG_NONE;
    for (unsigned i = 0; i < in->operand_count; i++) {
        const ZydisDecodedOperand *o = &found->all[i];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        if (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_MASK) {
            out->scatter.mask = (uint8_t)ZydisRegisterGetId(o->reg.value);
        } else {
            out->scatter.data = (uint8_t)ZydisRegisterGetId(o->reg.value);
            out->scatter.elements = (uint8_t)(o->size / 8 / out->size);
        }
    }
    out->scatter.indexes = (uint8_t)ZydisRegisterGetId(written->mem.index);
    out->scatter.index_bytes = rule->index_bytes;
    unsigned indexes =
        ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, written->mem.index) / 8u / out->scatter.index_bytes;
    if (indexes < out->scatter.elements) out->scatter.elements = (uint8_t)indexes;
}

MW_SIGNAL_SAFE static void classify_movdir64b(struct instruction *out, const ZydisDecodedInstruction *in,
                                              const ZydisDecodedOperand *operand) {
    out->kind = KIND_MOVDIR64B;
    out->movdir64b.destination_register = general_register(operand[0].reg.value);
    for (unsigned i = 0; i < in->operand_count; i++)
        if (operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY && operand[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
            out->memory = memory_operand(in, &operand[i]);
}

MW_SIGNAL_SAFE static uint32_t restored(const struct rule *rule, const struct operands *found) {
    if (rule->kind == KIND_WIDE) return RESTORE_ALL;
    return rule->restore ? rule->restore
                         : (found->vector ? RESTORE_VECTORS : 0) | (found->x87 ? XSTATE_BIT(XSTATE_X87) : 0);
}

MW_SIGNAL_SAFE static void classify_run(struct instruction *out, const ZydisDecodedInstruction *in,
                                        const struct rule *rule, const struct operands *found) {
    const ZydisDecodedOperand *written = found->written;
    if (!written || written->mem.type == ZYDIS_MEMOP_TYPE_VSIB) return;
    out->memory = memory_operand(in, written);
    if (rule->kind == KIND_RUN) out->size = (uint16_t)(written->size / 8);
    if (rule->kind == KIND_RUN && !out->size) return;
    out->kind = out->size > STORE_MAX ? KIND_WIDE : rule->kind;
    out->run.restore = restored(rule, found);
    out->run.changes_x87 = found->x87 && rule->kind == KIND_RUN;
    out->run.condition = rule->condition;
    out->run.raises = rule->raises;
    out->run.compacted = rule->compacted;
    bool masked = rule->masked || (in->avx.mask.reg != ZYDIS_REGISTER_NONE && in->avx.mask.reg != ZYDIS_REGISTER_K0);
    out->run.masking = !masked ? NOT_MASKED : rule->all_fault ? MASKED_FAULTS : MASKED;
    if (rule->bit_offset && found->all[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        out->memory.bit_offset_bytes = (uint8_t)out->size;
        out->memory.bit_offset_register = general_register(found->all[1].reg.value);
    }
    if (rule->pops && out->memory.base == RSP) out->memory.displacement += out->size;
}

MW_SIGNAL_SAFE static void classify(struct instruction *out, const ZydisDecodedInstruction *in,
                                    const struct operands *found) {
    const struct rule *rule = rule_for(in);
    out->size = rule->size;
    out->memory.base = out->memory.index = REG_NONE;
    out->memory.address_bytes = in->address_width == 32 ? 4 : 8;
    switch (rule->kind) {
    case KIND_STRING:
        out->kind = KIND_STRING;
        out->string.moves = rule->moves;
        out->string.repeats =
            (in->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
        out->memory.segment = segment_prefix(out);
        break;
    case KIND_CLZERO:
        out->kind = KIND_CLZERO;
        out->memory.segment = segment_prefix(out);
        break;
    case KIND_PUSH:
    case KIND_CALL: classify_push(out, in, rule, &found->all[0]); break;
    case KIND_MOVDIR64B: classify_movdir64b(out, in, found->all); break;
    case KIND_SCATTER: classify_scatter(out, in, rule, found); break;
    case KIND_RUN:
    case KIND_WIDE: classify_run(out, in, rule, found); break;
    default: break; /* refused */
    }
}

MW_SIGNAL_SAFE bool decode(struct instruction *out, const uint8_t *bytes, unsigned available, struct relocated *copy) {
    ZydisDecoder decoder;
    ZydisDecodedInstruction in;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, available, &in, operand)))
        return false;
    memset(out, 0, sizeof *out);
    out->length = in.length;
    memcpy(out->bytes, bytes, in.length);
    struct operands found = survey(&in, operand);
    classify(out, &in, &found);
    copy->length = 0;
    if (out->kind == KIND_RUN || out->kind == KIND_WIDE) {
        relocate(out, &in, found.registers, copy);
        if (!copy->length) out->kind = KIND_REFUSED;
    }
    return true;
}
