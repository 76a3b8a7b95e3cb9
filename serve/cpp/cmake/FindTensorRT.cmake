# Finds TensorRT (libnvinfer) or TensorRT-RTX (libtensorrt_rtx) and the CUDA runtime.
#
# Give TensorRT_ROOT, or TensorRT_INCLUDE_DIR and TensorRT_LIBRARY, where they are not in the usual places.
# Defines the target TensorRT::TensorRT and TensorRT_NAME: "tensorrt" or "tensorrt_rtx", as manifests call it.
find_path(TensorRT_INCLUDE_DIR NvInfer.h)
find_library(TensorRT_LIBRARY NAMES nvinfer tensorrt_rtx libtensorrt_rtx.so.1)
find_path(TensorRT_CUDA_INCLUDE_DIR cuda_runtime_api.h HINTS ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES include)
find_library(TensorRT_CUDART_LIBRARY NAMES cudart libcudart.so.13 libcudart.so.12 HINTS ENV CUDA_HOME /usr/local/cuda
             PATH_SUFFIXES lib64 lib)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRT REQUIRED_VARS TensorRT_LIBRARY TensorRT_INCLUDE_DIR
  TensorRT_CUDA_INCLUDE_DIR TensorRT_CUDART_LIBRARY)

if(TensorRT_LIBRARY MATCHES "tensorrt_rtx")
  set(TensorRT_NAME tensorrt_rtx)
else()
  set(TensorRT_NAME tensorrt)
endif()
if(TensorRT_FOUND AND NOT TARGET TensorRT::TensorRT)
  add_library(TensorRT::TensorRT UNKNOWN IMPORTED)
  set_target_properties(TensorRT::TensorRT PROPERTIES
    IMPORTED_LOCATION "${TensorRT_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${TensorRT_INCLUDE_DIR};${TensorRT_CUDA_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${TensorRT_CUDART_LIBRARY}")
endif()
mark_as_advanced(TensorRT_INCLUDE_DIR TensorRT_LIBRARY TensorRT_CUDA_INCLUDE_DIR TensorRT_CUDART_LIBRARY)
