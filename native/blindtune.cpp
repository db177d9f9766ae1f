#include "blindtune.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nf4.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

char* copy(const char* text) { return strdup(text); }

// Runs `work`; what it throws becomes the message.
template <typename Work>
char* guarded(Work work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return copy(error.what());
  } catch (...) {
    return copy("unknown C++ exception");
  }
}

std::optional<Tensor> optional(const Tensor* tensor) {
  return tensor == nullptr ? std::nullopt : std::optional<Tensor>(*tensor);
}

// Whether there is memory for some threads and what they make: OpenMP ends the process where it gets none for a stack.
bool has_room_for(int threads) {
  const size_t bytes = (static_cast<size_t>(threads) + 1) * (32 << 20);
  void* room = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return room != MAP_FAILED && munmap(room, bytes) == 0;
}

// Once oneDNN's code generator has found no memory on a thread, it makes no new code there, ever: its error state is the thread's and
// sticky. Another thread can make the code, and what it made is found by all. As many threads share the work: the code is of that number.
template <typename Work>
Tensor on_a_fresh_thread(Work work) {
  const at::ThreadLocalState state;
  const int threads = at::get_num_threads();
  Tensor made;
  std::exception_ptr failed;
  std::thread([&] {
    try {
      const at::ThreadLocalStateGuard guard(state);
      at::set_num_threads(threads);
      made = work();
    } catch (...) {
      failed = std::current_exception();
    }
  }).join();
  if (failed) std::rethrow_exception(failed);
  return made;
}

// Runs what oneDNN may have to make code for.
template <typename Work>
Tensor with_onednn(Work work) {
  try {
    return work();
  } catch (const std::exception& error) {
    const bool no_code = std::string_view(error.what()).find("could not create a primitive") != std::string_view::npos;
    if (!no_code || !has_room_for(at::get_num_threads())) throw;
  }
  return on_a_fresh_thread(work);
}

Tensor onednn(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  using Linear = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                        c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
  static auto linear = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Linear>();
  try {
    return with_onednn([&] { return linear.call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), ""); });
  } catch (const std::exception&) {
    // BLAS needs no code; where memory is short for the product itself, it says so.
    TORCH_WARN_ONCE("oneDNN failed; products that it has no code for go to BLAS");
    return at::linear(x, weight, bias);
  }
}

// Below so many rows oneDNN multiplies a plain weight with another kernel, which sums in another order.
constexpr int64_t kFewRows = 96;

// x W^T + b for x [rows, in]. oneDNN reads W where it lies, transposed or not, so that a mapped file is multiplied without a copy.
// MKL, which at::linear calls, takes its slow path on processors that are not Intel's (benches/README.md). A row's result must not
// depend on how many rows there are, so that a request answers the same alone and stacked with others: a few rows are multiplied as
// (W x^T)^T, where W's many rows choose the kernel, and one row is multiplied twice.
Tensor multiply_rows(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  if (x.size(0) == 1) return multiply_rows(x.expand({2, x.size(1)}).contiguous(), weight, bias).narrow(0, 0, 1);
  if (x.size(0) < kFewRows && weight.is_contiguous()) {
    Tensor y = at::empty({x.size(0), weight.size(0)}, x.options());
    y.copy_(onednn(weight, x, std::nullopt).t());
    return bias.has_value() ? y.add_(*bias) : y;
  }
  return onednn(x, weight, bias);
}

Tensor multiply(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  if (!x.is_cpu()) return at::linear(x, weight, bias);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  return multiply_rows(x.contiguous().view({-1, weight.size(1)}), weight, bias).view(shape);
}

// A linear layer whose weight never learns: its backward is one product, and its graph keeps nothing but the weight.
struct FrozenLinear : torch::autograd::Function<FrozenLinear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
    ctx->saved_data["weight"] = weight;
    return multiply(x, weight, bias);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const Tensor weight = ctx->saved_data["weight"].toTensor();
    return {multiply(gradients[0], weight.t(), std::nullopt), Tensor(), Tensor()};
  }
};

// LibTorch computes it with oneDNN, forward and backward.
struct Gelu : torch::autograd::Function<Gelu> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, bool tanh) {
    ctx->save_for_backward({x});
    ctx->saved_data["tanh"] = tanh;
    return with_onednn([&] { return at::gelu(x, kind(tanh)); });
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const Tensor x = ctx->get_saved_variables()[0];
    const bool tanh = ctx->saved_data["tanh"].toBool();
    return {with_onednn([&] { return at::gelu_backward(gradients[0], x, kind(tanh)); }), Tensor()};
  }

  static std::string_view kind(bool tanh) { return tanh ? "tanh" : "none"; }
};

// Of an NF4 weight the graph keeps the codes alone.
struct Nf4Linear : torch::autograd::Function<Nf4Linear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& codes, const Tensor& absmax,
                        const std::optional<Tensor>& nested, const std::optional<Tensor>& bias, int64_t rows,
                        int64_t columns) {
    auto& saved = ctx->saved_data;
    saved["codes"] = codes;
    saved["absmax"] = absmax;
    saved["nested"] = nested;
    saved["rows"] = rows;
    saved["columns"] = columns;
    return multiply(x, nf4::dequantize(codes, absmax, nested, rows, columns), bias);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    auto& saved = ctx->saved_data;
    const Tensor weight = nf4::dequantize(saved["codes"].toTensor(), saved["absmax"].toTensor(),
                                          saved["nested"].toOptional<Tensor>(), saved["rows"].toInt(),
                                          saved["columns"].toInt());
    variable_list inputs(7);
    inputs[0] = multiply(gradients[0], weight.t(), std::nullopt);
    return inputs;
  }
};

}  // namespace

extern "C" {

void bt_free(char* message) { free(message); }

char* bt_linear(const Tensor* x, const Tensor* weight, const Tensor* bias, Tensor** out) {
  return guarded([&] { *out = new Tensor(FrozenLinear::apply(*x, *weight, optional(bias))); });
}

char* bt_gelu(const Tensor* x, bool tanh, Tensor** out) {
  return guarded([&] { *out = new Tensor(Gelu::apply(*x, tanh)); });
}

char* bt_nf4_quantize(const Tensor* weight, Tensor** codes, Tensor** absmax) {
  return guarded([&] {
    auto [quantized, largest] = nf4::quantize(*weight);
    *codes = new Tensor(std::move(quantized));
    *absmax = new Tensor(std::move(largest));
  });
}

char* bt_nf4_dequantize(const Tensor* codes, const Tensor* absmax, const Tensor* nested, int64_t rows, int64_t columns,
                        Tensor** out) {
  return guarded([&] { *out = new Tensor(nf4::dequantize(*codes, *absmax, optional(nested), rows, columns)); });
}

char* bt_nf4_linear(const Tensor* x, const Tensor* codes, const Tensor* absmax, const Tensor* nested, const Tensor* bias,
                    int64_t rows, int64_t columns, Tensor** out) {
  return guarded([&] {
    *out = new Tensor(Nf4Linear::apply(*x, *codes, *absmax, optional(nested), optional(bias), rows, columns));
  });
}

void bt_memory_settings() {
  // Read when oneDNN is first used. A product's code takes about half a megabyte, and each number of tokens has its own.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "48", 0);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void bt_heap_trim() { malloc_trim(0); }

char* bt_open_cuda() {
  // Read before the first allocation: without it, batches of changing lengths leave holes that nothing fits.
  setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True", 0);
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return nullptr;
  const char* reason = dlerror();
  return copy(reason == nullptr ? "libtorch_cuda.so cannot be opened" : reason);
}

char* bt_device_trim() {
  return guarded([] { at::accelerator::emptyCache(); });
}

char* bt_device_memory(int64_t index, int64_t* free_bytes, int64_t* total_bytes) {
  return guarded([&] {
    const auto [available, total] = at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(index));
    *free_bytes = static_cast<int64_t>(available);
    *total_bytes = static_cast<int64_t>(total);
  });
}
}
