// The layers of a BigVGAN for inference on the CPU: convolutions with fewer multiplications, and the alias-free
// activation between them. Called from `packed.py`, which knows the shapes; nothing is checked here.
//
// Layout. A signal is (B, V, N, LANES): V vectors of LANES neighbouring channels, the last one padded with zeros, so
// that every step along the N samples works on whole vectors and nothing is shuffled.
//
// Convolution (Toom 1963, Cook 1966; Winograd 1980). Four outputs of a filter of four taps need POINTS = 7 products for
// a pair of channels instead of 16; with three taps 6 instead of 12. A longer filter is cut into OUTER pieces of four
// taps, and the pieces are treated alike once more: two outputs of two (three) pieces need three (four) products instead
// of four (six). The products of all tiles and channels for one point are one matrix product. The matrices and the
// transformed filters come from `cook_toom.py`.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "simd.h"

namespace {

constexpr int STEP = 4;            // outputs of the inner transform
constexpr int AT_ONCE = 4 * ROWS;  // tiles that pass through together

struct Convolution {
    const float *input, *weight, *bias;  // weight: for each point and panel of two output vectors (in, panel width)
    const float* add;                    // like the output, or null
    float* output;                       // (B, vectors / phases, N x phases, LANES)
    const float *analysis, *synthesis;   // (POINTS, POINTS) and (STEP, POINTS)
    int64_t batches, samples, in, in_vectors, out_vectors;
    int64_t reach, dilation, phases;  // phases: output vectors that stand for neighbouring samples
    int accumulate, threads;
};

struct Tile {  // outputs residue + dilation x (start ... start + STEP x HEIGHT - 1)
    int64_t residue, start;
};

// sums_TO = values_TI weights_IO for ROWS tiles and WIDTH vectors of output channels.
template <int WIDTH>
void multiply(const float* values, int64_t stride, const float* weights, int64_t in, float* sums, int64_t sums_stride) {
    Vec sum[ROWS][WIDTH];
#pragma GCC unroll 16
    for (int t = 0; t < ROWS; t++)
#pragma GCC unroll 2
        for (int o = 0; o < WIDTH; o++) sum[t][o] = Vec{};
    for (int64_t i = 0; i < in; i++, weights += WIDTH * LANES) {
        Vec weight[WIDTH];
#pragma GCC unroll 2
        for (int o = 0; o < WIDTH; o++) weight[o] = load(weights + o * LANES);
#pragma GCC unroll 16
        for (int t = 0; t < ROWS; t++) {
            const Vec value = all(values[t * stride + i]);
#pragma GCC unroll 2
            for (int o = 0; o < WIDTH; o++) sum[t][o] += value * weight[o];
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < ROWS; t++)
#pragma GCC unroll 2
        for (int o = 0; o < WIDTH; o++) store(sums + t * sums_stride + o * LANES, sum[t][o]);
}

template <int POINTS, int OUTER>
struct Tiles {
    static constexpr int PLANES = OUTER == 1 ? 1 : OUTER + 1;  // products of the outer transform
    static constexpr int HEIGHT = OUTER == 1 ? 1 : 2;          // its outputs
    static constexpr int PRODUCTS = PLANES * POINTS;

    // The inner transform of POINTS inputs from `start` on, counted in samples of the residue.
    static void transform(const Convolution& c, const float* channel, int64_t residue, int64_t start, Vec* points) {
        Vec x[POINTS];
        const int64_t first = residue + c.dilation * start, last = first + c.dilation * (POINTS - 1);
        if (first >= 0 && last < c.samples) {
            for (int j = 0; j < POINTS; j++) x[j] = load(channel + (first + c.dilation * j) * LANES);
        } else {
            for (int j = 0; j < POINTS; j++) {
                const int64_t n = first + c.dilation * j;
                x[j] = n >= 0 && n < c.samples ? load(channel + n * LANES) : Vec{};
            }
        }
#pragma GCC unroll 7
        for (int p = 0; p < POINTS; p++) {
            points[p] = x[0] * c.analysis[p * POINTS];
#pragma GCC unroll 7
            for (int j = 1; j < POINTS; j++) points[p] += x[j] * c.analysis[p * POINTS + j];
        }
    }

    // Every point of every tile: values (PRODUCTS, tiles, channels).
    static void analyse(const Convolution& c, const float* input, const Tile* tiles, int count, float* values,
                        int64_t stride, int64_t per_point) {
        for (int64_t vector = 0; vector < c.in_vectors; vector++) {
            const float* channel = input + vector * c.samples * LANES;
            Vec rows[PLANES][POINTS];
            for (int t = 0; t < count; t++) {
                const bool follows = t > 0 && tiles[t].residue == tiles[t - 1].residue;
                const int kept = follows ? PLANES - HEIGHT : 0;  // rows it shares with the tile before
                for (int r = 0; r < kept; r++)
                    for (int p = 0; p < POINTS; p++) rows[r][p] = rows[r + HEIGHT][p];
                for (int r = kept; r < PLANES; r++)
                    transform(c, channel, tiles[t].residue, tiles[t].start + STEP * r - c.reach, rows[r]);
                for (int p = 0; p < POINTS; p++) {
                    float* to = values + p * per_point + t * stride + vector * LANES;
                    const int64_t next = POINTS * per_point;
                    if constexpr (OUTER == 1) {
                        store(to, rows[0][p]);
                    } else if constexpr (OUTER == 2) {
                        store(to, rows[0][p] - rows[1][p]);
                        store(to + next, rows[1][p]);
                        store(to + 2 * next, rows[2][p] - rows[1][p]);
                    } else {
                        store(to, rows[0][p] - rows[2][p]);
                        store(to + next, rows[1][p] + rows[2][p]);
                        store(to + 2 * next, rows[2][p] - rows[1][p]);
                        store(to + 3 * next, rows[1][p] - rows[3][p]);
                    }
                }
            }
        }
    }

    // Products (PRODUCTS, tiles, channels) back to outputs, plus bias and what is to be added.
    static void synthesise(const Convolution& c, int64_t batch, const float* products, int64_t stride, int64_t per_point,
                           const Tile* tiles, int count) {
        const int64_t vectors = c.out_vectors / c.phases;
        for (int64_t vector = 0; vector < c.out_vectors; vector++) {
            const int64_t channel = (batch * vectors + vector % vectors) * c.samples * c.phases + vector / vectors;
            const Vec bias = load(c.bias + vector * LANES);
            for (int t = 0; t < count; t++) {
                Vec rows[HEIGHT][POINTS];
                for (int p = 0; p < POINTS; p++) {
                    const float* from = products + p * per_point + t * stride + vector * LANES;
                    const int64_t next = POINTS * per_point;
                    if constexpr (OUTER == 1) {
                        rows[0][p] = load(from);
                    } else if constexpr (OUTER == 2) {
                        const Vec middle = load(from + next);
                        rows[0][p] = load(from) + middle;
                        rows[1][p] = middle + load(from + 2 * next);
                    } else {
                        const Vec b = load(from + next), d = load(from + 2 * next);
                        rows[0][p] = load(from) + (b + d);
                        rows[1][p] = (b - d) - load(from + 3 * next);
                    }
                }
                for (int r = 0; r < HEIGHT; r++)
#pragma GCC unroll 4
                    for (int s = 0; s < STEP; s++) {
                        const int64_t n = tiles[t].residue + c.dilation * (tiles[t].start + r * STEP + s);
                        if (n >= c.samples) continue;
                        Vec sum = rows[r][0] * c.synthesis[s * POINTS];
#pragma GCC unroll 7
                        for (int p = 1; p < POINTS; p++) sum += rows[r][p] * c.synthesis[s * POINTS + p];
                        sum += bias;
                        const int64_t at = (channel + n * c.phases) * LANES;
                        if (c.add) sum += load(c.add + at);
                        if (c.accumulate) sum += load(c.output + at);
                        store(c.output + at, sum);
                    }
            }
        }
    }

    static void run(const Convolution& c) {
        std::vector<Tile> tiles;
        for (int64_t residue = 0; residue < c.dilation; residue++)
            for (int64_t start = 0; residue + c.dilation * start < c.samples; start += STEP * HEIGHT)
                tiles.push_back({residue, start});
        const int64_t count = tiles.size(), share = (count * c.batches + c.threads - 1) / c.threads;
        const int64_t at_once = (std::min<int64_t>(AT_ONCE, share) + ROWS - 1) / ROWS * ROWS;
        const int64_t blocks = (count + at_once - 1) / at_once;
        const int64_t stride = c.in_vectors * LANES + LANES, per_point = at_once * stride;  // no power of two
        const int64_t out_stride = c.out_vectors * LANES + LANES, per_sum = at_once * out_stride;
#pragma omp parallel num_threads(c.threads)
        {
            std::vector<float> values(PRODUCTS * per_point), products(PRODUCTS * per_sum);
#pragma omp for schedule(dynamic)
            for (int64_t job = 0; job < c.batches * blocks; job++) {
                const int64_t batch = job / blocks, first = job % blocks * at_once;
                const int here = std::min(at_once, count - first);
                const float* input = c.input + batch * c.in_vectors * c.samples * LANES;
                analyse(c, input, &tiles[first], here, values.data(), stride, per_point);
                for (int p = 0; p < PRODUCTS; p++)
                    for (int64_t o = 0; o < c.out_vectors; o += 2) {
                        const float* weights = c.weight + (p * c.out_vectors + o) * c.in * LANES;
                        for (int64_t t = 0; t < here; t += ROWS) {
                            const float* from = values.data() + p * per_point + t * stride;
                            float* to = products.data() + p * per_sum + t * out_stride + o * LANES;
                            if (o + 2 <= c.out_vectors)
                                multiply<2>(from, stride, weights, c.in, to, out_stride);
                            else
                                multiply<1>(from, stride, weights, c.in, to, out_stride);
                        }
                    }
                synthesise(c, batch, products.data(), out_stride, per_sum, &tiles[first], here);
            }
        }
    }
};

}  // namespace

extern "C" int lanes() { return LANES; }

// Returns 0, or 1 where no transform of that many points and pieces was built.
extern "C" int convolve(const float* input, const float* weight, const float* bias, const float* add, float* output,
                        const float* analysis, const float* synthesis, int64_t batches, int64_t samples, int64_t in,
                        int64_t in_vectors, int64_t out_vectors, int64_t points, int64_t outer, int64_t reach,
                        int64_t dilation, int64_t phases, int accumulate, int threads) {
    const Convolution c{input,   weight,     bias,        add,   output,   analysis, synthesis,  batches, samples,
                        in,      in_vectors, out_vectors, reach, dilation, phases,   accumulate, threads};
    if (points == 6 && outer == 1) return Tiles<6, 1>::run(c), 0;
    if (points == 7 && outer == 1) return Tiles<7, 1>::run(c), 0;
    if (points == 7 && outer == 2) return Tiles<7, 2>::run(c), 0;
    if (points == 7 && outer == 3) return Tiles<7, 3>::run(c), 0;
    return 1;
}

// The alias-free activation; the formulas are those of `alias_free.cpp`, a vector of channels for every sample.
// alpha, scale (= 1 / beta): (V, LANES); taps: the 12 of the low-pass. input and output must not be the same.
extern "C" void activate(const float* input, const float* alpha, const float* scale, const float* taps, float* output,
                         int64_t batches, int64_t vectors, int64_t samples, int threads) {
    constexpr int STRETCH = 64;  // samples that pass through together
    const int64_t stretches = (samples + STRETCH - 1) / STRETCH;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t job = 0; job < batches * vectors * stretches; job++) {
        Vec held[STRETCH + 12], even[STRETCH + 6], odd[STRETCH + 6];
        const int64_t row = job / stretches, first = job % stretches * STRETCH;
        const int64_t count = std::min<int64_t>(STRETCH, samples - first);
        const Vec curve = load(alpha + row % vectors * LANES), size = load(scale + row % vectors * LANES);
        for (int64_t i = 0; i < count + 12; i++)
            held[i] = load(input + (row * samples + std::clamp<int64_t>(first + i - 6, 0, samples - 1)) * LANES);
        for (int64_t j = 0; j < count + 6; j++) {
            Vec early{}, late{};
#pragma GCC unroll 6
            for (int k = 0; k < 6; k++) {
                early += held[j + 5 - k] * (2 * taps[2 * k + 1]);
                late += held[j + 6 - k] * (2 * taps[2 * k]);
            }
            even[j] = snake(early, curve, size);
            odd[j] = snake(late, curve, size);
        }
        for (int64_t j = 0; j < 3 - first; j++) even[j] = odd[j] = even[3 - first];
        for (int64_t j = samples - first + 3; j < count + 6; j++) even[j] = odd[j] = odd[samples - first + 2];
        for (int64_t t = 0; t < count; t++) {
            Vec sum{};
#pragma GCC unroll 6
            for (int k = 0; k < 6; k++) sum += even[t + 1 + k] * taps[2 * k + 1] + odd[t + k] * taps[2 * k];
            store(output + (row * samples + first + t) * LANES, sum);
        }
    }
}
