/* native_code.cc - the same in C++. */
namespace shop {
struct Order {
    __attribute__((noinline)) void operator+=(unsigned char *at) { *(volatile unsigned char *)at = 7; }
};
} // namespace shop
extern "C" void in_cpp(unsigned char *at) {
    shop::Order order;
    order += at;
    __asm__ volatile("");
}
