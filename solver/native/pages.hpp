// Large host memory lies on pages of its own, and pages can change their place without a copy.
#pragma once
#include <cstddef>

constexpr size_t kHugePage = 2 << 20, kHuge = 4 * kHugePage;

// Whether exchange_pages has not failed so far: the system is Linux, from 5.7 on.
bool pages_move() noexcept;

// Two ranges of `bytes` bytes, both malloc's, from a huge page's start on, exchange what they hold, by the pages it
// lies on. If not, nothing has changed. Both addresses stay mapped throughout; who looks meanwhile may see zeros.
bool exchange_pages(char *first, char *second, size_t bytes);
