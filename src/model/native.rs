//! What LibTorch has and tch does not bind: the safe side of native/blindtune.h. Owns the calls across that border; must never
//! hand out a raw pointer, and adds no mathematics of its own.
//!
//! The frozen linear layer stands here because a backward of one's own cannot be written through tch.

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_void;
use std::ptr;

use tch::TchError;
use tch::Tensor;

use crate::model::error::TchResult;

type Raw = *const c_void;
type Out = *mut *mut c_void;

#[allow(unsafe_code)]
unsafe extern "C" {
    fn bt_free(message: *mut c_char);
    fn bt_linear(x: Raw, weight: Raw, bias: Raw, out: Out) -> *mut c_char;
    fn bt_gelu(x: Raw, tanh: bool, out: Out) -> *mut c_char;
    fn bt_nf4_quantize(weight: Raw, codes: Out, absmax: Out) -> *mut c_char;
    fn bt_nf4_dequantize(codes: Raw, absmax: Raw, nested: Raw, rows: i64, columns: i64, out: Out) -> *mut c_char;
    #[rustfmt::skip]
    fn bt_nf4_linear(
        x: Raw,
        codes: Raw,
        absmax: Raw,
        nested: Raw,
        bias: Raw,
        rows: i64,
        columns: i64,
        out: Out,
    ) -> *mut c_char;
    fn bt_memory_settings();
    fn bt_heap_trim();
    fn bt_open_cuda() -> *mut c_char;
    fn bt_device_trim() -> *mut c_char;
    fn bt_device_memory(index: i64, free_bytes: *mut i64, total_bytes: *mut i64) -> *mut c_char;
}

fn raw(tensor: &Tensor) -> Raw {
    tensor.as_ptr().cast()
}

fn raw_or_null(tensor: Option<&Tensor>) -> Raw {
    tensor.map_or(ptr::null(), raw)
}

/// The message of a call that failed; null is success.
#[allow(unsafe_code)]
fn checked(message: *mut c_char) -> TchResult<()> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message is a string that malloc made for us; it is read and freed once, here.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        bt_free(message);
        text
    };
    Err(TchError::Torch(text))
}

/// The one tensor that `call` makes.
#[allow(unsafe_code)]
fn made(call: impl FnOnce(Out) -> *mut c_char) -> TchResult<Tensor> {
    let mut out = ptr::null_mut();
    checked(call(&raw mut out))?;
    // SAFETY: a call that succeeded has put a tensor of ours there, made with `new`, which tch deletes.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// `x W^T + b` for a frozen float32 `W` `[out, in]`: `[..., in]` to `[..., out]`, with a backward that keeps nothing but `W`.
/// On the CPU through oneDNN, which reads `W` where it lies.
#[allow(unsafe_code)]
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> TchResult<Tensor> {
    // SAFETY: the pointers are of tensors that live through the call; LibTorch counts references to what the graph keeps.
    made(|out| unsafe { bt_linear(raw(x), raw(weight), raw_or_null(bias), out) })
}

/// GELU (arXiv 1606.08415), exact or in its approximation by tanh, element by element. As LibTorch has it, but that it goes on where oneDNN
/// found no memory for its code once.
#[allow(unsafe_code)]
pub fn gelu(x: &Tensor, tanh: bool) -> TchResult<Tensor> {
    // SAFETY: as in `linear`.
    made(|out| unsafe { bt_gelu(raw(x), tanh, out) })
}

/// A weight in NF4, as LibTorch keeps it.
#[derive(Debug)]
pub struct Nf4Parts {
    /// Two codes a byte, `[n / 2]`, the first in the high half.
    pub codes: Tensor,
    /// Scale of each block of 64: float32 `[n / 64]`, or uint8 where `nested` says what the bytes mean.
    pub absmax: Tensor,
    /// Table of 256 values, an offset, and the scale of each 256 blocks.
    pub nested: Option<Tensor>,
    /// Shape of the weight, `[out, in]`.
    pub shape: [i64; 2],
}

/// Codes `[n / 2]` and scales `[n / 64]` of a float32 tensor with a multiple of 64 elements, on the CPU.
#[allow(unsafe_code)]
pub fn nf4_quantize(weight: &Tensor) -> TchResult<(Tensor, Tensor)> {
    let mut codes = ptr::null_mut();
    let mut absmax = ptr::null_mut();
    // SAFETY: as in `made`, for two tensors.
    unsafe {
        checked(bt_nf4_quantize(raw(weight), &raw mut codes, &raw mut absmax))?;
        Ok((Tensor::from_ptr(codes.cast()), Tensor::from_ptr(absmax.cast())))
    }
}

impl Nf4Parts {
    /// The weight that the codes stand for, float32 `[out, in]`.
    #[allow(unsafe_code)]
    pub fn dequantize(&self) -> TchResult<Tensor> {
        let [rows, columns] = self.shape;
        let codes = raw(&self.codes);
        let absmax = raw(&self.absmax);
        let nested = raw_or_null(self.nested.as_ref());
        // SAFETY: as in `linear`; the shape is checked against the codes on the other side.
        made(|out| unsafe { bt_nf4_dequantize(codes, absmax, nested, rows, columns, out) })
    }

    /// As [`linear`], with the weight dequantized for the product, and again for its backward.
    #[allow(unsafe_code)]
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> TchResult<Tensor> {
        let [rows, columns] = self.shape;
        let codes = raw(&self.codes);
        let absmax = raw(&self.absmax);
        let nested = raw_or_null(self.nested.as_ref());
        // SAFETY: as in `linear`.
        made(|out| unsafe { bt_nf4_linear(raw(x), codes, absmax, nested, raw_or_null(bias), rows, columns, out) })
    }
}

/// Keeps the pages of freed tensors for the next step, and bounds the code that oneDNN keeps of its products. For the whole process,
/// before the first product; [`heap_trim`] gives the pages back.
#[allow(unsafe_code)]
pub fn memory_settings() {
    // SAFETY: sets numbers of malloc and of oneDNN.
    unsafe { bt_memory_settings() }
}

/// Gives the free memory of the process back to the system.
#[allow(unsafe_code)]
pub fn heap_trim() {
    // SAFETY: touches free memory only.
    unsafe { bt_heap_trim() }
}

/// Opens LibTorch's CUDA half where it is installed beside the rest.
#[allow(unsafe_code)]
pub fn open_cuda() -> TchResult<()> {
    // SAFETY: loads LibTorch's own library, which registers its kernels.
    checked(unsafe { bt_open_cuda() })
}

/// Gives the accelerator's cached blocks back.
#[allow(unsafe_code)]
pub fn device_trim() -> TchResult<()> {
    // SAFETY: no pointer crosses.
    checked(unsafe { bt_device_trim() })
}

/// Free and total bytes of an accelerator.
#[allow(unsafe_code)]
pub fn device_memory(index: usize) -> TchResult<(u64, u64)> {
    let mut free = 0;
    let mut total = 0;
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    // SAFETY: two numbers of ours are written.
    checked(unsafe { bt_device_memory(index, &raw mut free, &raw mut total) })?;
    Ok((free.unsigned_abs(), total.unsigned_abs()))
}
