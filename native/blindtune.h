// What LibTorch has and tch does not bind. The Rust side is src/model/native.rs.
//
// Owns: the frozen linear layer with its own backward (oneDNN on the CPU), GELU, NF4 blocks, and the memory calls of the allocators.
// Must never: keep a tensor that its caller did not hand over, or let a C++ exception cross into Rust: each call returns null,
// or a message that the caller frees with bt_free.
#pragma once

#include <cstdint>

namespace at {
class Tensor;
}

extern "C" {
void bt_free(char* message);

// y = x W^T + b for a frozen W [out, in], float32 on the CPU, through oneDNN. x [..., in]; bias may be null.
char* bt_linear(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, at::Tensor** out);

// GELU, exact or with tanh, that goes on after memory was short (see on_a_fresh_thread).
char* bt_gelu(const at::Tensor* x, bool tanh, at::Tensor** out);

// NF4: codes [n / 2] (uint8, two a byte, the first in the high half) and absmax [n / 64] of a weight of n elements.
char* bt_nf4_quantize(const at::Tensor* weight, at::Tensor** codes, at::Tensor** absmax);
// The weight of those codes as float32, [rows, columns]. With `nested` (may be null) absmax is uint8, doubly quantized.
char* bt_nf4_dequantize(const at::Tensor* codes, const at::Tensor* absmax, const at::Tensor* nested, int64_t rows,
                        int64_t columns, at::Tensor** out);
// y = x W^T + b, W dequantized for the call, and again for its backward: no graph keeps it.
char* bt_nf4_linear(const at::Tensor* x, const at::Tensor* codes, const at::Tensor* absmax, const at::Tensor* nested,
                    const at::Tensor* bias, int64_t rows, int64_t columns, at::Tensor** out);

// malloc serves big blocks from its heap and keeps up to 1 GiB of free pages there: mapped one by one, each step would touch its
// tensors' pages anew, a quarter of its time (benches/README.md). An idle host gives them back (bt_heap_trim). oneDNN keeps the code of
// its last 48 products, not of 1,024. For the whole process, before the first product.
void bt_memory_settings();
// Gives free memory of the process back to the system.
void bt_heap_trim();

// Opens libtorch_cuda.so where it is, with an allocator whose segments grow; null when it is open, or why it is not.
char* bt_open_cuda();
// Gives a device's cached blocks back; its free and total bytes. Accelerators only.
char* bt_device_trim();
char* bt_device_memory(int64_t index, int64_t* free_bytes, int64_t* total_bytes);
}
