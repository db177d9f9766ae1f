// NormalFloat4 blocks of 64, as QLoRA (arXiv 2305.14314) and bitsandbytes have them: each block is scaled by its largest
// magnitude and each element becomes the nearest of 16 levels, quantiles of the normal distribution.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace nf4 {

constexpr int64_t kBlock = 64;

// bitsandbytes' table, digit by digit.
constexpr std::array<float, 16> kLevels = {
    -1.0F,
    -0.6961928009986877F,
    -0.5250730514526367F,
    -0.39491748809814453F,
    -0.28444138169288635F,
    -0.18477343022823334F,
    -0.09105003625154495F,
    0.0F,
    0.07958029955625534F,
    0.16093020141124725F,
    0.24611230194568634F,
    0.33791524171829224F,
    0.44070982933044434F,
    0.5626170039176941F,
    0.7229568362236023F,
    1.0F,
};

// bitsandbytes' thresholds (dQuantizeNF4): the middles between levels, as it rounds them; an element above takes the upper level.
constexpr std::array<float, 15> kThresholds = {
    -0.8480964004993439F, -0.6106329262256622F, -0.4599952697753906F,  -0.33967943489551544F, -0.23460740596055984F,
    -0.13791173323988914F, -0.045525018125772476F, 0.03979014977812767F, 0.1202552504837513F,  0.2035212516784668F,
    0.2920137718319893F,   0.3893125355243683F,    0.5016634166240692F,  0.6427869200706482F,  0.8614784181118011F,
};

inline uint8_t nearest(float value) {
  uint8_t level = 0;
  for (const float threshold : kThresholds) level += value > threshold ? 1 : 0;
  return level;
}

// Codes [n / 2], absmax [n / 64] of a float32 tensor of n elements, n a multiple of 64.
inline std::pair<at::Tensor, at::Tensor> quantize(const at::Tensor& weight) {
  const at::Tensor flat = weight.contiguous().view({-1});
  const int64_t blocks = flat.numel() / kBlock;
  TORCH_CHECK(flat.scalar_type() == at::kFloat && flat.is_cpu(), "NF4 is made from float32 on the CPU");
  TORCH_CHECK(blocks * kBlock == flat.numel(), "NF4 needs a multiple of 64 elements, not ", flat.numel());
  at::Tensor codes = at::zeros({flat.numel() / 2}, at::kByte);
  at::Tensor absmax = at::zeros({blocks}, at::kFloat);
  const float* values = flat.const_data_ptr<float>();
  uint8_t* packed = codes.mutable_data_ptr<uint8_t>();
  float* largest = absmax.mutable_data_ptr<float>();
  at::parallel_for(0, blocks, 256, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const float* from = values + block * kBlock;
      uint8_t* to = packed + block * kBlock / 2;
      float most = 0.0F;
      for (int64_t i = 0; i < kBlock; ++i) most = std::max(most, std::fabs(from[i]));
      largest[block] = most;
      const float scale = most > 0.0F ? 1.0F / most : 0.0F;
      for (int64_t i = 0; i < kBlock / 2; ++i) {
        to[i] = static_cast<uint8_t>(nearest(from[2 * i] * scale) << 4 | nearest(from[2 * i + 1] * scale));
      }
    }
  });
  return {codes, absmax};
}

inline at::Tensor dequantize_cpu(const at::Tensor& codes, const at::Tensor& absmax, int64_t rows, int64_t columns) {
  at::Tensor weight = at::empty({rows, columns}, at::kFloat);
  const uint8_t* packed = codes.const_data_ptr<uint8_t>();
  const float* largest = absmax.const_data_ptr<float>();
  float* values = weight.mutable_data_ptr<float>();
  at::parallel_for(0, absmax.numel(), 256, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const uint8_t* from = packed + block * kBlock / 2;
      float* to = values + block * kBlock;
      std::array<float, 16> scaled;
      for (size_t level = 0; level < 16; ++level) scaled[level] = kLevels[level] * largest[block];
      for (int64_t i = 0; i < kBlock / 2; ++i) {
        to[2 * i] = scaled[from[i] >> 4];
        to[2 * i + 1] = scaled[from[i] & 15];
      }
    }
  });
  return weight;
}

// On other devices with ATen's own kernels.
inline at::Tensor dequantize_device(const at::Tensor& codes, const at::Tensor& absmax, int64_t rows, int64_t columns) {
  const at::Tensor levels = at::tensor(at::ArrayRef<float>(kLevels.data(), kLevels.size())).to(codes.device());
  const at::Tensor high = at::bitwise_right_shift(codes, 4), low = at::bitwise_and(codes, 15);
  const at::Tensor places = at::stack({high, low}, 1).view({-1}).to(at::kInt);
  const at::Tensor values = levels.index_select(0, places).view({-1, kBlock});
  return values.mul(absmax.unsqueeze(1)).view({rows, columns});
}

// Double quantization: one byte for each block's scale, and what they mean in `nested`: a table of 256 values, an offset, and
// the scale of each 256 blocks.
constexpr int64_t kTable = 256;
constexpr int64_t kNestedBlock = 256;

inline at::Tensor scales(const at::Tensor& absmax, const std::optional<at::Tensor>& nested) {
  if (!nested.has_value()) return absmax;
  TORCH_CHECK(nested->numel() == kTable + 1 + (absmax.numel() + kNestedBlock - 1) / kNestedBlock,
              "nested NF4 scales do not fit ", absmax.numel(), " blocks");
  const at::Tensor values = nested->narrow(0, 0, kTable).index_select(0, absmax.to(at::kInt));
  const at::Tensor largest = nested->slice(0, kTable + 1).repeat_interleave(kNestedBlock).narrow(0, 0, absmax.numel());
  return values.mul(largest).add(nested->narrow(0, kTable, 1));
}

inline at::Tensor dequantize(const at::Tensor& codes, const at::Tensor& scale, const std::optional<at::Tensor>& nested,
                             int64_t rows, int64_t columns) {
  const at::Tensor absmax = scales(scale, nested);
  TORCH_CHECK(codes.numel() * 2 == rows * columns && absmax.numel() * kBlock == rows * columns,
              "NF4 codes and scales do not fit a weight of ", rows, " x ", columns);
  return codes.is_cpu() ? dequantize_cpu(codes, absmax, rows, columns) : dequantize_device(codes, absmax, rows, columns);
}

}  // namespace nf4
