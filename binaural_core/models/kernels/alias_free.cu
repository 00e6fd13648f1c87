// The alias-free activation of BigVGAN on CUDA, with its gradients. Formulas and letters as in alias_free.cpp.
//
// One block makes CHUNK samples of one row: it reads x once into shared memory, keeps the signal at twice the rate there, and
// writes y once, where the plain way goes to memory and back at every step. Every loop strides over the block's threads, so
// the code is right for a block of any size, also of one thread: that is how it is tested without a GPU.

#include <cstdint>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define LAUNCH(kernel, blocks, threads, stream, ...) kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__)
#endif

namespace {

constexpr int EDGE = 3, CHUNK = 512, THREADS = 256;
constexpr int MARGIN = 3 * EDGE;  // index i of every array stands for sample first - MARGIN + i
constexpr int WIDE = CHUNK + 2 * MARGIN;

struct Chunk {
    int64_t row, first, samples;  // samples: of the row
    int count;                    // own samples
    __device__ int64_t sample(int i) const { return first - MARGIN + i; }
};

__device__ Chunk chunk_of(int64_t block, int64_t samples) {
    const int64_t chunks = (samples + CHUNK - 1) / CHUNK;
    const int64_t first = block % chunks * CHUNK;
    const int64_t left = samples - first;
    return {block / chunks, first, samples, static_cast<int>(left < CHUNK ? left : CHUNK)};
}

// The chunk and its surroundings; beyond the ends of the row the end itself, or zero.
__device__ void take(const float* x, const Chunk& c, bool held, float* to) {
    for (int i = threadIdx.x; i < c.count + 2 * MARGIN; i += blockDim.x) {
        const int64_t n = c.sample(i), inside = n < 0 ? 0 : n < c.samples ? n : c.samples - 1;
        to[i] = held || n == inside ? x[c.row * c.samples + inside] : 0.0f;
    }
    __syncthreads();
}

// gain sum_k f[2k+1] x[i+2-k] and gain sum_k f[2k] x[i+3-k]
__device__ float even_of(const float* x, const float* f, float gain, int i) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 6; k++) sum += x[i + 2 - k] * (gain * f[2 * k + 1]);
    return sum;
}

__device__ float odd_of(const float* x, const float* f, float gain, int i) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 6; k++) sum += x[i + 3 - k] * (gain * f[2 * k]);
    return sum;
}

// gain (sum_k f[2k+1] even[i-2+k] + f[2k] odd[i-3+k])
__device__ float gathered(const float* even, const float* odd, const float* f, float gain, int i) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 6; k++) sum += even[i - 2 + k] * (gain * f[2 * k + 1]) + odd[i - 3 + k] * (gain * f[2 * k]);
    return sum;
}

__device__ float snake(float u, float alpha, float scale) {
    const float s = sinf(alpha * u);
    return u + s * s * scale;
}

__global__ void forward(const float* x, const float* alpha, const float* scale, const float* f, float* y,
                        int64_t channels, int64_t samples) {
    __shared__ float held[WIDE], even[WIDE], odd[WIDE];
    const Chunk c = chunk_of(blockIdx.x, samples);
    const float curve = alpha[c.row % channels], size = scale[c.row % channels];
    take(x, c, true, held);
    for (int i = MARGIN - EDGE + threadIdx.x; i < MARGIN + c.count + EDGE; i += blockDim.x) {
        even[i] = snake(even_of(held, f, 2, i), curve, size);
        odd[i] = snake(odd_of(held, f, 2, i), curve, size);
    }
    __syncthreads();
    const int begin = MARGIN - static_cast<int>(c.first < EDGE ? c.first : EDGE);    // where the row's first sample is
    const int64_t last = samples - 1 - c.first + MARGIN;                             // and its last
    const float low = even[begin], high = last < WIDE ? odd[last] : 0;
    __syncthreads();
    for (int i = MARGIN - EDGE + threadIdx.x; i < MARGIN + c.count + EDGE; i += blockDim.x) {
        if (c.sample(i) < 0) even[i] = odd[i] = low;
        if (c.sample(i) >= samples) even[i] = odd[i] = high;
    }
    __syncthreads();
    for (int i = MARGIN + threadIdx.x; i < MARGIN + c.count; i += blockDim.x)
        y[c.row * samples + c.sample(i)] = gathered(even, odd, f, 1, i);
}

__global__ void backward(const float* x, const float* dy, const float* alpha, const float* scale, const float* f,
                         float* dx, double* d_alpha, double* d_scale, int64_t channels, int64_t samples) {
    __shared__ float held[WIDE], given[WIDE], even[WIDE], odd[WIDE], of_alpha, of_scale;
    const Chunk c = chunk_of(blockIdx.x, samples);
    const float curve = alpha[c.row % channels], size = scale[c.row % channels];
    if (threadIdx.x == 0) of_alpha = of_scale = 0;
    take(x, c, true, held);
    take(dy, c, false, given);
    for (int i = threadIdx.x; i < WIDE; i += blockDim.x) {  // the gradient of z
        const bool reached = i >= EDGE && i < c.count + 2 * MARGIN - EDGE;
        even[i] = reached ? even_of(given, f, 1, i) : 0;
        odd[i] = reached ? odd_of(given, f, 1, i) : 0;
    }
    __syncthreads();
    const int64_t begin = MARGIN - c.first, last = samples - 1 - c.first + MARGIN;
    if (threadIdx.x == 0) {  // what z held beyond its ends goes back to the ends
        if (begin >= 0)
            for (int i = 0; i < begin; i++) even[begin] += even[i] + odd[i];
        if (last < WIDE)
            for (int i = last + 1; i < WIDE; i++) odd[last] += even[i] + odd[i];
    }
    __syncthreads();
    float my_alpha = 0, my_scale = 0;
    for (int i = threadIdx.x; i < WIDE; i += blockDim.x) {  // the gradient of u
        const bool inside = c.sample(i) >= 0 && c.sample(i) < samples && i >= EDGE && i < WIDE - EDGE;
        const bool own = i >= MARGIN && i < MARGIN + c.count;
        for (int part = 0; part < 2; part++) {
            float& gradient = part ? odd[i] : even[i];
            if (!inside) {
                gradient = 0;
                continue;
            }
            const float u = part ? odd_of(held, f, 2, i) : even_of(held, f, 2, i);
            const float s = sinf(curve * u), slope = 2 * s * cosf(curve * u);
            if (own) {
                my_alpha += gradient * u * slope * size;
                my_scale += gradient * s * s;
            }
            gradient *= 1 + slope * curve * size;
        }
    }
    atomicAdd(&of_alpha, my_alpha);
    atomicAdd(&of_scale, my_scale);
    __syncthreads();
    for (int i = MARGIN + threadIdx.x; i < MARGIN + c.count; i += blockDim.x) {
        float sum = gathered(even, odd, f, 2, i);
        if (i == begin)  // what x held beyond its ends goes back to the ends
            for (int j = begin - EDGE; j < begin; j++) sum += gathered(even, odd, f, 2, j);
        if (i == last)
            for (int j = last + 1; j <= last + EDGE; j++) sum += gathered(even, odd, f, 2, j);
        dx[c.row * samples + c.sample(i)] = sum;
    }
    if (threadIdx.x == 0) {
        atomicAdd(&d_alpha[c.row], static_cast<double>(of_alpha));
        atomicAdd(&d_scale[c.row], static_cast<double>(of_scale));
    }
}

int64_t blocks(int64_t rows, int64_t samples) { return rows * ((samples + CHUNK - 1) / CHUNK); }

}  // namespace

// Both return CUDA's error code, 0 where the kernel was started. d_alpha and d_scale must be zero before.
extern "C" int alias_free_forward(const float* x, const float* alpha, const float* scale, const float* f, float* y,
                                  int64_t rows, int64_t channels, int64_t samples, cudaStream_t stream) {
    LAUNCH(forward, blocks(rows, samples), THREADS, stream, x, alpha, scale, f, y, channels, samples);
    return cudaGetLastError();
}

extern "C" int alias_free_backward(const float* x, const float* dy, const float* alpha, const float* scale,
                                   const float* f, float* dx, double* d_alpha, double* d_scale, int64_t rows,
                                   int64_t channels, int64_t samples, cudaStream_t stream) {
    LAUNCH(backward, blocks(rows, samples), THREADS, stream, x, dy, alpha, scale, f, dx, d_alpha, d_scale, channels,
           samples);
    return cudaGetLastError();
}
