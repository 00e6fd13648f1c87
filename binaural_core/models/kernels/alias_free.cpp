// The alias-free activation of BigVGAN on the CPU, with its gradients, in one pass instead of five.
//
// x is (rows, N), one row per batch and channel. With the 12 taps f of the low-pass and held ends (x[n < 0] = x[0], ...):
//   u[2j]   = 2 sum_k f[2k+1] x[j+2-k]     at twice the rate; of the 12 taps each sample meets six, the others meet
//   u[2j+1] = 2 sum_k f[2k]   x[j+3-k]     the zeros between
//   z[n]    = u[n] + sin^2(alpha u[n]) / beta
//   y[t]    = sum_k f[k] z[2t+k-5]         z held at its own ends: z[n < 0] = z[0], z[n > 2N-1] = z[2N-1]
// A chunk of a row passes through all of it in the first-level cache. Even and odd samples of u and z are kept apart, and
// index i of every array below stands for sample first - MARGIN + i.

#include <algorithm>
#include <cstdint>

#include "simd.h"

namespace {

constexpr int EDGE = 3, MARGIN = 2 * EDGE;  // y hears z three samples away, and that hears x three more
constexpr int CHUNK = 512, WIDE = CHUNK + EDGE + 2 * MARGIN + 2 * LANES;

struct Twice {  // a chunk at twice the rate
    alignas(64) float even[WIDE], odd[WIDE];
};

struct Chunk {
    int64_t first, count;
    int64_t stop() const { return MARGIN + count; }                // index after the chunk's own samples
    int64_t begin() const { return MARGIN - first; }               // index of the row's first sample, if not before EDGE
    int64_t end(int64_t samples) const { return begin() + samples; }  // and after its last
};

// The chunk and its surroundings; beyond the ends of the row the end itself, or zero.
void take(const float* row, int64_t samples, Chunk c, bool held, float* to) {
    std::fill(to, to + WIDE, 0.0f);
    const int64_t low = std::max<int64_t>(0, c.begin()), high = std::min(c.stop() + MARGIN, c.end(samples));
    std::copy(row + low - c.begin(), row + high - c.begin(), to + low);
    if (!held) return;
    std::fill(to, to + low, to[low]);
    std::fill(to + high, to + c.stop() + MARGIN, to[high - 1]);
}

// twice.even[i] = gain sum_k f[2k+1] x[i+2-k], twice.odd[i] = gain sum_k f[2k] x[i+3-k]
void spread(const float* x, const float* f, float gain, Chunk c, Twice& twice) {
    for (int64_t i = EDGE; i < c.stop() + EDGE; i += LANES) {
        Vec even{}, odd{};
#pragma GCC unroll 6
        for (int k = 0; k < 6; k++) {
            even += load(x + i + 2 - k) * (gain * f[2 * k + 1]);
            odd += load(x + i + 3 - k) * (gain * f[2 * k]);
        }
        store(twice.even + i, even);
        store(twice.odd + i, odd);
    }
}

// to[i] = gain (sum_k f[2k+1] even[i-2+k] + f[2k] odd[i-3+k]), the adjoint of `spread` and the low-pass on the way back
void gather(const Twice& twice, const float* f, float gain, int64_t from, int64_t stop, float* to) {
    for (int64_t i = from; i < stop; i += LANES) {
        Vec sum{};
#pragma GCC unroll 6
        for (int k = 0; k < 6; k++)
            sum += load(twice.even + i - 2 + k) * (gain * f[2 * k + 1]) + load(twice.odd + i - 3 + k) * (gain * f[2 * k]);
        store(to + i, sum);
    }
}

Vec below(Vec x, int64_t i, int64_t stop) {  // lanes i + l < stop of x, zero in the others
    for (int l = 0; l < LANES; l++) x[l] = i + l < stop ? x[l] : 0;
    return x;
}

double total(Vec x) {
    double sum = 0;
    for (int l = 0; l < LANES; l++) sum += x[l];
    return sum;
}

}  // namespace

// scale is 1 / beta; alpha and scale have one entry per channel.
extern "C" void alias_free_forward(const float* x, const float* alpha, const float* scale, const float* f, float* y,
                                   int64_t rows, int64_t channels, int64_t samples, int threads) {
    const int64_t chunks = (samples + CHUNK - 1) / CHUNK;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t job = 0; job < rows * chunks; job++) {
        alignas(64) float held[WIDE], out[WIDE];
        Twice z;
        const int64_t row = job / chunks, first = job % chunks * CHUNK;
        const Chunk c{first, std::min<int64_t>(CHUNK, samples - first)};
        const Vec curve = all(alpha[row % channels]), size = all(scale[row % channels]);
        take(x + row * samples, samples, c, true, held);
        spread(held, f, 2, c, z);
        for (int64_t i = EDGE; i < c.stop() + EDGE; i += LANES) {
            store(z.even + i, snake(load(z.even + i), curve, size));
            store(z.odd + i, snake(load(z.odd + i), curve, size));
        }
        for (int64_t i = EDGE; i < c.begin(); i++) z.even[i] = z.odd[i] = z.even[c.begin()];
        for (int64_t i = c.end(samples); i < c.stop() + EDGE; i++) z.even[i] = z.odd[i] = z.odd[c.end(samples) - 1];
        gather(z, f, 1, MARGIN, c.stop(), out);
        std::copy(out + MARGIN, out + c.stop(), y + row * samples + first);
    }
}

// dx, and for each row the gradients of alpha and of scale. What is held gets back what all of its copies got.
extern "C" void alias_free_backward(const float* x, const float* dy, const float* alpha, const float* scale,
                                    const float* f, float* dx, double* d_alpha, double* d_scale, int64_t rows,
                                    int64_t channels, int64_t samples, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        alignas(64) float held[WIDE], given[WIDE], out[WIDE];
        Twice u, d;  // d: the gradient of z, then of u
        const Vec curve = all(alpha[row % channels]), size = all(scale[row % channels]);
        d_alpha[row] = d_scale[row] = 0;
        Chunk c{0, 0};
        for (; c.first < samples; c.first += c.count) {
            c.count = samples - c.first > CHUNK + EDGE ? CHUNK : samples - c.first;  // the last has the whole end to itself
            const int64_t begin = c.begin(), end = c.end(samples), stop = c.stop();
            take(x + row * samples, samples, c, true, held);
            take(dy + row * samples, samples, c, false, given);
            spread(held, f, 2, c, u);
            spread(given, f, 1, c, d);
            for (int64_t i = EDGE; i < begin; i++) d.even[begin] += d.even[i] + d.odd[i];
            for (int64_t i = end; i < stop + EDGE; i++) d.odd[end - 1] += d.even[i] + d.odd[i];
            const int64_t low = std::max<int64_t>(EDGE, begin), high = std::min(stop + EDGE, end);
            for (float* part : {d.even, d.odd}) {
                std::fill(part, part + low, 0.0f);
                std::fill(part + high, part + WIDE, 0.0f);
            }
            Vec for_alpha{}, for_scale{};
            const auto through_the_curve = [&](const float* before, float* gradient) {
                for (int64_t i = EDGE; i < stop + EDGE; i += LANES) {
                    const Vec v = load(before + i), g = load(gradient + i), r = reduced(curve * v);
                    const Vec s = sine(r), slope = 2 * s * cosine(r);  // sin 2 alpha u
                    Vec own = i + LANES > stop ? below(g, i, stop) : g;  // what lies outside the chunk is its neighbours'
                    if (i < MARGIN) own -= below(g, i, MARGIN);
                    for_alpha += own * v * slope * size;
                    for_scale += own * s * s;
                    store(gradient + i, g * (slope * curve * size + 1.0f));
                }
            };
            through_the_curve(u.even, d.even);
            through_the_curve(u.odd, d.odd);
            d_alpha[row] += total(for_alpha);
            d_scale[row] += total(for_scale);
            gather(d, f, 2, EDGE, stop + EDGE, out);
            for (int64_t i = EDGE; i < begin; i++) out[begin] += out[i];
            for (int64_t i = end; i < stop + EDGE; i++) out[end - 1] += out[i];
            std::copy(out + MARGIN, out + stop, dx + row * samples + c.first);
        }
    }
}
