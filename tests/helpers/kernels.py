"""OKL sources that several tests build."""

AXPY = """
@kernel void axpy(const int n, const real a, const real *x @dim(n), real *y @dim(n)) {
  for (int i = 0; i < n; ++i; @tile(64, @outer, @inner)) {
    y[i] += a * x[i];
  }
}
"""

# Each kind of argument comes back in the outputs.
ECHO = """
@kernel void echo(const int i, const long l, const float f, const double d, long *longs,
                  double *doubles) {
  for (int o = 0; o < 1; ++o; @outer) {
    for (int t = 0; t < 2; ++t; @inner) {
      longs[t] = (t == 0) ? i : l;
      doubles[t] = (t == 0) ? f : d;
    }
  }
}
"""
