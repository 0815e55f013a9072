// What a host kernel of OCCA 1 needs of the header it includes: the mathematical functions. The full header costs a second
// of compile time for every kernel.
#pragma once
#include <math.h>

namespace occa {}
