#include "prog.h"

#include "base/bits.h"
#include "isa/riscv64/decode.h"
#include "isa/riscv64/disasm.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>

#define RESERVE_PAGE 4096

void prog_init(struct prog *p, size_t data_len)
{
    *p = (struct prog){.data_len = align_up(data_len, RESERVE_PAGE)};
    p->text = calloc(1, PROG_TEXT_MAX);
    p->data = calloc(1, p->data_len);
    if (!p->text || !p->data)
        abort();
}

void prog_fini(struct prog *p)
{
    free(p->text);
    free(p->data);
}

void prog_emit(struct prog *p, uint32_t word, unsigned len)
{
    if (p->text_len + len > PROG_TEXT_MAX)
        abort();
    if (len == 2)
        le16_put(p->text + p->text_len, (uint16_t)word);
    else
        le32_put(p->text + p->text_len, word);
    p->text_len += len;
}

void prog_li(struct prog *p, unsigned rd, int32_t value)
{
    uint32_t high = ((uint32_t)value + 0x800) >> 12;
    int32_t low = (int32_t)((uint32_t)value - (high << 12));
    if (high)
        prog_emit(p, asm_lui(rd, high), 4);
    if (low || !high) /* addiw: the sum is a 32-bit number */
        prog_emit(p, asm_i(high ? 0x1b : 0x13, 0, rd, high ? rd : 0, low), 4);
}

void prog_dump(struct prog *p, unsigned base, int base_offset, int offset, unsigned temp)
{
    int at = offset - base_offset;
    for (unsigned i = 1; i < 32; i++)
        prog_emit(p, asm_sd(i, base, at + 8 * (int)i), 4);
    for (unsigned i = 0; i < 32; i++)
        prog_emit(p, asm_fsd(i, base, at + 8 * (int)(32 + i)), 4);
    prog_emit(p, asm_csrr(temp, CSR_FCSR), 4);
    prog_emit(p, asm_sd(temp, base, at + 8 * 64), 4);
}

void prog_restore(struct prog *p, unsigned base, int base_offset, int offset, unsigned temp)
{
    int at = offset - base_offset;
    prog_emit(p, asm_ld(temp, base, at + 8 * 64), 4);
    prog_emit(p, asm_csrw(CSR_FCSR, temp), 4);
    for (unsigned i = 0; i < 32; i++)
        prog_emit(p, asm_fld(i, base, at + 8 * (int)(32 + i)), 4);
    for (unsigned i = 1; i < 32; i++)
        if (i != base)
            prog_emit(p, asm_ld(i, base, at + 8 * (int)i), 4);
}

void prog_exit(struct prog *p)
{
    prog_li(p, 10, 1);
    prog_li(p, 11, (int32_t)PROG_DATA);
    prog_li(p, 12, (int32_t)p->data_len);
    prog_li(p, 17, 64);
    prog_emit(p, ASM_ECALL, 4);
    prog_li(p, 10, 0);
    prog_li(p, 17, 93);
    prog_emit(p, ASM_ECALL, 4);
}

/* struct ucontext of Linux on riscv64: the pc, then x1..x31, 176 bytes in. */
#define UCONTEXT_REGS 176

void prog_catch(struct prog *p)
{
    /* The handler's address and flags lie on the stack as struct sigaction. */
    size_t skip = p->text_len;
    prog_emit(p, 0, 4);
    uint64_t handler = prog_pc(p);
    prog_emit(p, asm_ld(5, 12, UCONTEXT_REGS + 8 * PROG_RESUME_REG), 4);
    prog_emit(p, asm_sd(5, 12, UCONTEXT_REGS), 4);
    prog_emit(p, asm_sd(10, 12, UCONTEXT_REGS + 8 * PROG_SIGNAL_REG), 4);
    prog_emit(p, asm_jalr(0, 1, 0), 4);
    le32_put(p->text + skip, asm_jal(0, (int32_t)(p->text_len - skip)));

    static const uint8_t signals[] = {4 /* ILL */, 5 /* TRAP */, 7 /* BUS */, 11 /* SEGV */};
    prog_emit(p, asm_addi(2, 2, -64), 4);
    prog_li(p, 5, (int32_t)handler);
    prog_emit(p, asm_sd(5, 2, 0), 4);
    prog_li(p, 5, 4); /* SA_SIGINFO */
    prog_emit(p, asm_sd(5, 2, 8), 4);
    prog_emit(p, asm_sd(0, 2, 16), 4);
    for (unsigned i = 0; i < sizeof signals; i++) {
        prog_li(p, 10, signals[i]);
        prog_emit(p, asm_addi(11, 2, 0), 4);
        prog_li(p, 12, 0);
        prog_li(p, 13, 8);
        prog_li(p, 17, 134); /* rt_sigaction */
        prog_emit(p, ASM_ECALL, 4);
    }
}

size_t prog_elf(const struct prog *p, uint8_t **file)
{
    size_t text_at = RESERVE_PAGE, data_at = align_up(text_at + p->text_len, RESERVE_PAGE);
    size_t len = data_at + p->data_len;
    uint8_t *out = calloc(1, len);
    if (!out)
        abort();
    Elf64_Ehdr head = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_RISCV,
        .e_version = EV_CURRENT,
        .e_entry = PROG_TEXT,
        .e_phoff = sizeof head,
        .e_flags = 5, /* compressed instructions, doubles in registers */
        .e_ehsize = sizeof head,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    Elf64_Phdr parts[2] = {
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_X | (p->writable_text ? PF_W : 0),
         .p_offset = text_at,
         .p_vaddr = PROG_TEXT,
         .p_filesz = p->text_len,
         .p_memsz = p->text_len,
         .p_align = RESERVE_PAGE},
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_W,
         .p_offset = data_at,
         .p_vaddr = PROG_DATA,
         .p_filesz = p->data_len,
         .p_memsz = p->data_len,
         .p_align = RESERVE_PAGE},
    };
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, parts, sizeof parts);
    memcpy(out + text_at, p->text, p->text_len);
    memcpy(out + data_at, p->data, p->data_len);
    *file = out;
    return len;
}

void prog_print(const struct prog *p, uint64_t pc, unsigned count, uint64_t mark)
{
    while (count-- && pc >= PROG_TEXT && pc + 2 <= prog_pc(p)) {
        const uint8_t *at = p->text + (pc - PROG_TEXT);
        unsigned len = rv_insn_len(le16_get(at));
        uint32_t word = len == 2 || pc + 4 > prog_pc(p) ? le16_get(at) : le32_get(at);
        char text[80];
        rv_disasm(word, pc, RV_EXTS_DEFAULT, text, sizeof text);
        printf("  %s %8lx: %0*x  %s\n", pc == mark ? "->" : "  ", (unsigned long)pc, (int)len * 2,
               word, text);
        pc += len;
    }
}
