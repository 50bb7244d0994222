import jax
import jax.numpy as jnp

from latent_jax.costs.kernels import describe_kernels, kernels


def kernel(x):
    return jax.ffi.ffi_call("my_kernel", jax.ShapeDtypeStruct(x.shape, x.dtype))(x)


@jax.jit
def twice(x):
    return kernel(kernel(x))


def text_of(function):
    x = jax.ShapeDtypeStruct((4,), jnp.float32)
    return jax.jit(function).lower(x).as_text()


def test_a_function_counts_as_often_as_it_is_called():
    text = text_of(lambda x: twice(twice(twice(x))) + kernel(x))
    assert text.count("@my_kernel") == 3, "the function stands once in the text"
    assert kernels(text) == {"my_kernel": 7}


def test_a_loop_counts_once_and_plain_operations_not_at_all():
    looped = text_of(lambda x: jax.lax.fori_loop(0, 5, lambda _, y: kernel(y), x))
    assert kernels(looped) == {"my_kernel": 1}
    assert kernels(text_of(lambda x: x + 1)) == {}


def test_names_that_tell_nothing_are_translated():
    text = """module @jit_step {
  func.func public @main(%arg0: tensor<f32>) -> tensor<f32> {
    %0 = stablehlo.custom_call @tpu_custom_call(%arg0) : (tensor<f32>) -> tensor<f32>
    %1 = stablehlo.custom_call @tpu_custom_call(%0) : (tensor<f32>) -> tensor<f32>
    %2 = stablehlo.custom_call @mine(%1) : (tensor<f32>) -> tensor<f32>
"""
    assert describe_kernels(text) == "2 x kernel in Pallas, 1 x mine"
