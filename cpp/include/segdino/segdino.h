/* The C API of segdino: for C, and for every language that can call C. The rules of segdino.hpp hold.
 *
 *     segdino_segmenter* segmenter = NULL;
 *     segdino_status status = segdino_open("polyp.segdino", NULL, &segmenter);
 *     segdino_image image = {0};
 *     image.struct_size = sizeof image;
 *     image.data = pixels; // RGB, rows without gaps
 *     image.width = width;
 *     image.height = height;
 *     if (status == SEGDINO_OK) status = segdino_segment(segmenter, &image, mask, (size_t)width * (size_t)height);
 *     if (status != SEGDINO_OK) puts(segdino_last_error());
 *     segdino_close(segmenter);
 *
 * Every function that can fail gives back a status, and no exception passes through. Structures begin with their own
 * size, so that a program goes on running with a library whose structures have grown: set it to sizeof, and everything
 * else to zero.
 */
#ifndef SEGDINO_SEGDINO_H
#define SEGDINO_SEGDINO_H

#include <stddef.h>
#include <stdint.h>

#include "segdino/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct segdino_segmenter segdino_segmenter;

typedef enum {
  SEGDINO_OK = 0,
  SEGDINO_CHECK_FAILED = 1,      /* the canary's answer is wrong */
  SEGDINO_INPUT_ERROR = 2,       /* wrong use or an unusable file */
  SEGDINO_MISSING_COMPONENT = 3, /* a backend, version or device is not here */
  SEGDINO_ENGINE_ERROR = 4,      /* the backend refused */
  SEGDINO_OUT_OF_MEMORY = 5,
  SEGDINO_UNEXPECTED = 6 /* a defect of this library: please report it */
} segdino_status;

typedef enum {
  SEGDINO_RGB = 0,
  SEGDINO_BGR = 1,
  SEGDINO_RGBA = 2,
  SEGDINO_BGRA = 3,
  SEGDINO_GREY = 4,
  SEGDINO_NV12 = 5
} segdino_pixel_format;

/* What an output holds. */
typedef enum { SEGDINO_MASK = 0, SEGDINO_PROBABILITY = 1, SEGDINO_LOGITS = 2 } segdino_output;

/* See segdino::Options. Null strings are empty ones. */
typedef struct {
  size_t struct_size;
  const char* engine;
  const char* backend;
  const char* precision;
  int threads;
  int check_canary;
  int check_only_engine_files; /* not those of the other engines, reports and models */
  const char* cache;
} segdino_options;

/* See segdino::ImageView. */
typedef struct {
  size_t struct_size;
  const uint8_t* data;
  int width;
  int height;
  size_t stride;
  int format; /* segdino_pixel_format */
  const uint8_t* chroma;
  size_t chroma_stride;
  int has_region;
  int region_x;
  int region_y;
  int region_width;
  int region_height;
} segdino_image;

typedef struct {
  size_t struct_size;
  double prepare_ms;
  double run_ms;
  double engine_ms;
  double finish_ms;
} segdino_timings;

/* Strings live as long as the segmenter. */
typedef struct {
  size_t struct_size;
  const char* engine;
  const char* backend;
  const char* precision;
  const char* device;
  int input_width;
  int input_height;
  int min_batch;
  int max_batch;
  int heads;
} segdino_info;

/* Strings live as long as the segmenter. */
typedef struct {
  size_t struct_size;
  const char* name;
  const char* family;
  int num_classes;
  double threshold;
  int has_probability;
  int has_logits;
} segdino_head_info;

/* Of the library, such as "0.1.0". */
SEGDINO_API const char* segdino_version(void);

/* Backends that were compiled in, separated by commas. */
SEGDINO_API const char* segdino_backends(void);

/* What the calling thread's last failed call said; empty where none has failed. Valid until its next call. */
SEGDINO_API const char* segdino_last_error(void);

/* What that call compared, where it failed because two things differ; else empty. Valid as long. */
SEGDINO_API const char* segdino_last_error_expected(void);
SEGDINO_API const char* segdino_last_error_got(void);

/* Opens a bundle; `options` may be null. `*opened` is null unless the result is SEGDINO_OK. */
SEGDINO_API segdino_status segdino_open(const char* bundle, const segdino_options* options, segdino_segmenter** opened);

/* Another one on the same engine, for another thread. */
SEGDINO_API segdino_status segdino_share(const segdino_segmenter* segmenter, segdino_segmenter** opened);

/* Null is allowed. */
SEGDINO_API void segdino_close(segdino_segmenter* segmenter);

SEGDINO_API segdino_status segdino_get_info(const segdino_segmenter* segmenter, segdino_info* info);
SEGDINO_API segdino_status segdino_get_head(const segdino_segmenter* segmenter, int head, segdino_head_info* info);
SEGDINO_API segdino_status segdino_get_class_name(const segdino_segmenter* segmenter, int head, int index,
                                                  const char** name);

/* The first head's mask at the image's size (of its region, where it has one): uint8 [height][width]. `size` is that of
 * `mask` in bytes, and must be exactly width * height. */
SEGDINO_API segdino_status segdino_segment(segdino_segmenter* segmenter, const segdino_image* image, uint8_t* mask,
                                           size_t size);

/* Runs any number of images; results are read with segdino_read. `of_model_size`: else each of its image's size.
 * `probability`, `logits`: whether to have them, too. */
SEGDINO_API segdino_status segdino_analyse(segdino_segmenter* segmenter, const segdino_image* images, size_t count,
                                           int of_model_size, int probability, int logits);

/* Copies one result of the last segdino_analyse. Masks are uint8 [height][width], the others float
 * [classes][height][width]. `size`: of `values` in bytes, exactly. */
SEGDINO_API segdino_status segdino_read(const segdino_segmenter* segmenter, size_t image, int head,
                                        segdino_output output, void* values, size_t size);

/* Of the last call. */
SEGDINO_API segdino_status segdino_get_timings(const segdino_segmenter* segmenter, segdino_timings* timings);

#ifdef __cplusplus
}
#endif

#endif
