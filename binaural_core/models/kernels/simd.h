// One vector of floats, as wide as this machine computes at once, and the curve of the Snake activations on it.
#pragma once

#include <cstring>

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 14;  // ROWS x 2 sums of a matrix product fit into the registers
#elif defined(__AVX2__)
constexpr int LANES = 8, ROWS = 6;
#elif defined(__aarch64__)
constexpr int LANES = 4, ROWS = 12;
#else
constexpr int LANES = 4, ROWS = 6;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES)));

static inline Vec load(const float* from) {
    Vec x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

static inline void store(float* to, Vec x) { std::memcpy(to, &x, sizeof x); }

static inline Vec all(float value) { return value - Vec{}; }  // minus, since -0 + 0 would be 0

// The angle less the nearest multiple of pi: in [-pi/2, pi/2], with the same sine squared. Pi is subtracted in three
// parts whose first products are exact (Cody and Waite 1980), so angles up to tens of thousands lose nothing. Far beyond,
// where float32 cannot tell one turn from the next, the result means nothing, but stays in its bounds.
static inline Vec reduced(Vec angle) {
    const Vec magic = all(12582912.0f);  // 1.5 x 2^23: adding it rounds to a whole number
    const Vec turns = (angle * 0.318309886183790672f + magic) - magic;
    Vec r = angle - turns * 3.140625f;
    r = r - turns * 9.67502593994140625e-4f;
    r = r - turns * 1.509957990978376432e-7f;
    const Vec bound = all(1.57079637f);
    r = r > bound ? bound : r;
    return r < -bound ? -bound : r;
}

// sin r and cos r on [-pi/2, pi/2] as minimax polynomials of r^2: errors 1e-10 and 1e-9, far below float32's own.
static inline Vec sine(Vec r) {
    const Vec q = r * r;
    Vec p = all(-2.40800944e-8f) * q + 2.75364596e-6f;
    p = p * q - 1.98410868e-4f;
    p = p * q + 8.33333284e-3f;
    p = p * q - 1.66666672e-1f;
    return r * q * p + r;
}

static inline Vec cosine(Vec r) {
    const Vec q = r * r;
    Vec p = all(-2.62973941e-7f) * q + 2.47745738e-5f;
    p = p * q - 1.38886517e-3f;
    p = p * q + 4.16666605e-2f;
    p = p * q - 0.5f;
    return q * p + 1.0f;
}

// x + sin^2(alpha x) / beta, given 1 / beta.
static inline Vec snake(Vec x, Vec alpha, Vec scale) {
    const Vec s = sine(reduced(alpha * x));
    return s * s * scale + x;
}
