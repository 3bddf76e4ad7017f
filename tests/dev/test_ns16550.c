/* The UART register by register, after the 16550D data sheet. */
#include "test.h"

#include "rig_test.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

static unsigned rd(struct rig *r, unsigned reg)
{
    return (unsigned)rig_read(r, RIG_UART + reg, 1);
}

static void wr(struct rig *r, unsigned reg, unsigned v)
{
    rig_write(r, RIG_UART + reg, 1, v);
}

/* The line itself: the PLIC's pending bit, made anew by claim and completion. */
static bool line(struct rig *r)
{
    rig_write(r, RIG_PLIC + 4 * RIG_IRQ_UART, 4, 1);
    rig_write(r, RIG_PLIC + 0x2000, 4, 1u << RIG_IRQ_UART);
    rig_read(r, RIG_PLIC + 0x200004, 4);
    rig_write(r, RIG_PLIC + 0x200004, 4, RIG_IRQ_UART);
    return r->eip[0];
}

static void power_on_values(void **state)
{
    struct rig *r = *state;
    static const unsigned want[8] = {0, 0, 0x01, 0, 0, 0x60, 0xb0, 0};
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(rd(r, i), want[i]);
    assert_int_equal(rd(r, 8), 0);
    assert_int_equal(rig_read(r, RIG_UART + 4, 4), 0);
    assert_int_equal(rig_read(r, RIG_UART, 8), 0);
    assert_false(line(r));
}

static void divisor_and_scratch(void **state)
{
    struct rig *r = *state;
    wr(r, SCR, 0x5a);
    assert_int_equal(rd(r, SCR), 0x5a);
    wr(r, IER, 0xff);
    assert_int_equal(rd(r, IER), 0x0f);
    wr(r, LCR, 0x83);
    wr(r, DATA, 0x34);
    wr(r, IER, 0x12);
    assert_int_equal(rd(r, DATA), 0x34);
    assert_int_equal(rd(r, IER), 0x12);
    wr(r, LCR, 0x03);
    assert_int_equal(rd(r, IER), 0x0f);
    assert_int_equal(r->uart_chr.out_len, 0);
    wr(r, MCR, 0xef);
    assert_int_equal(rd(r, MCR), 0x0f);
    /* A word store reaches one register. */
    rig_write(r, RIG_UART + LCR, 1, 0);
    rig_write(r, RIG_UART, 4, 0x11223344);
    assert_int_equal(r->uart_chr.out_len, 1);
    assert_int_equal(r->uart_chr.out[0], 0x44);
    assert_int_equal(rd(r, IER), 0x0f);
}

static void transmit_interrupt(void **state)
{
    struct rig *r = *state;
    wr(r, IER, 2);
    assert_true(line(r));
    assert_int_equal(rd(r, IIR), 0x02);
    assert_int_equal(rd(r, IIR), 0x01); /* reading it took it back */
    assert_false(line(r));
    wr(r, DATA, 'x');
    assert_int_equal(r->uart_chr.out[0], 'x');
    assert_int_equal(rd(r, LSR), 0x60);
    assert_true(line(r));
    wr(r, IER, 0);
    assert_false(line(r));
    wr(r, IER, 2);
    assert_int_equal(rd(r, IIR), 0x02);
}

static void transmit_never_blocks(void **state)
{
    struct rig *r = *state;
    r->uart_chr.room = 3;
    wr(r, FCR, 1);
    wr(r, IER, 2);
    for (unsigned i = 0; i < 30; i++)
        wr(r, DATA, 'a' + i);
    /* 3 went out, 16 wait, the others are lost. */
    assert_int_equal(r->uart_chr.out_len, 3);
    assert_int_equal(rd(r, LSR), 0);
    assert_int_equal(rd(r, IIR), 0xc1);
    assert_false(line(r));
    fake_chr_give_room(&r->uart_chr, 10);
    assert_int_equal(r->uart_chr.out_len, 13);
    assert_int_equal(rd(r, LSR), 0);
    fake_chr_give_room(&r->uart_chr, SIZE_MAX);
    assert_memory_equal(r->uart_chr.out, "abcdefghijklmnopqrs", 19);
    assert_int_equal(r->uart_chr.out_len, 19);
    assert_int_equal(rd(r, LSR), 0x60);
    assert_true(line(r));
    assert_int_equal(rd(r, IIR), 0xc2);
    /* Without FIFOs one byte waits. */
    wr(r, FCR, 0);
    r->uart_chr.room = 0;
    wr(r, DATA, 'A');
    wr(r, DATA, 'B');
    fake_chr_give_room(&r->uart_chr, SIZE_MAX);
    assert_int_equal(r->uart_chr.out_len, 20);
    assert_int_equal(r->uart_chr.out[19], 'A');
    /* Clearing the FIFO drops what waits. */
    wr(r, FCR, 1);
    r->uart_chr.room = 0;
    wr(r, DATA, 'C');
    assert_int_equal(rd(r, LSR), 0);
    wr(r, FCR, 5);
    assert_int_equal(rd(r, LSR), 0x60);
}

static void receive_without_fifo(void **state)
{
    struct rig *r = *state;
    wr(r, IER, 1);
    assert_int_equal(fake_chr_input(&r->uart_chr, "hi", 2), 1);
    assert_true(line(r));
    assert_int_equal(rd(r, IIR), 0x04);
    assert_int_equal(rd(r, LSR), 0x61);
    unsigned accepts = r->uart_chr.accepts;
    assert_int_equal(rd(r, DATA), 'h');
    assert_int_equal(r->uart_chr.accepts, accepts + 1);
    assert_int_equal(rd(r, LSR), 0x60);
    assert_false(line(r));
    assert_int_equal(fake_chr_input(&r->uart_chr, "i", 1), 1);
    assert_int_equal(rd(r, DATA), 'i');
}

static void receive_with_fifo(void **state)
{
    struct rig *r = *state;
    wr(r, FCR, 0x81); /* trigger at 8 */
    wr(r, IER, 1);
    assert_int_equal(fake_chr_input(&r->uart_chr, "0123456", 7), 7);
    assert_true(line(r));
    assert_int_equal(rd(r, IIR), 0xcc); /* time-out: below the trigger */
    assert_int_equal(fake_chr_input(&r->uart_chr, "789abcdefghi", 12), 9);
    assert_int_equal(rd(r, IIR), 0xc4);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(rd(r, DATA), "0123456789abcdef"[i]);
    assert_int_equal(rd(r, IIR), 0xc1);
    assert_int_equal(fake_chr_input(&r->uart_chr, "zz", 2), 2);
    wr(r, FCR, 0x83);
    assert_int_equal(rd(r, LSR), 0x60);
    assert_int_equal(fake_chr_input(&r->uart_chr, "yy", 2), 2);
    wr(r, FCR, 0); /* switching FIFOs off empties them */
    assert_int_equal(rd(r, LSR), 0x60);
    assert_int_equal(rd(r, IIR), 0x01);
}

static void overrun(void **state)
{
    struct rig *r = *state;
    wr(r, IER, 5);
    fake_chr_input(&r->uart_chr, "a", 1);
    r->uart_chr.receive(r->uart_chr.receive_ctx, (const uint8_t *)"b", 1);
    assert_int_equal(rd(r, IIR), 0x06); /* line status comes first */
    assert_int_equal(rd(r, LSR), 0x63);
    assert_int_equal(rd(r, LSR), 0x61);
    assert_int_equal(rd(r, IIR), 0x04);
    assert_int_equal(rd(r, DATA), 'a');
}

static void loopback(void **state)
{
    struct rig *r = *state;
    wr(r, IER, 8);
    wr(r, MCR, 0x10);
    assert_int_equal(rd(r, IIR), 0x00);
    assert_int_equal(rd(r, MSR), 0x0b); /* CTS, DSR and DCD fell */
    assert_int_equal(rd(r, MSR), 0x00);
    wr(r, MCR, 0x1f);
    assert_int_equal(rd(r, MSR), 0xfb); /* RI rose: no delta */
    wr(r, MCR, 0x1a);
    assert_int_equal(rd(r, MSR), 0x96); /* DTR and OUT1 fell */
    wr(r, DATA, 0x42);
    assert_int_equal(r->uart_chr.out_len, 0);
    assert_int_equal(fake_chr_input(&r->uart_chr, "x", 1), 0);
    assert_int_equal(rd(r, LSR), 0x61);
    assert_int_equal(rd(r, DATA), 0x42);
    wr(r, MCR, 0);
    assert_int_equal(rd(r, MSR) & 0xf0, 0xb0);
    assert_int_equal(fake_chr_input(&r->uart_chr, "x", 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_unit_test(power_on_values),
        rig_unit_test(divisor_and_scratch),
        rig_unit_test(transmit_interrupt),
        rig_unit_test(transmit_never_blocks),
        rig_unit_test(receive_without_fifo),
        rig_unit_test(receive_with_fifo),
        rig_unit_test(overrun),
        rig_unit_test(loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
