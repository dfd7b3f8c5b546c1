/* As main.cpp, in C. */
#include <segdino/segdino.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  segdino_segmenter* segmenter = NULL;
  segdino_image image = {0};
  segdino_status status;
  size_t pixels;
  uint8_t* rgb;
  uint8_t* mask;
  if (argc != 4) return 4;
  fprintf(stderr, "%s\n", segdino_version());

  image.struct_size = sizeof image;
  image.width = atoi(argv[2]);
  image.height = atoi(argv[3]);
  pixels = (size_t)image.width * (size_t)image.height;
  rgb = malloc(pixels * 3);
  mask = malloc(pixels);
  if (rgb == NULL || mask == NULL || fread(rgb, 1, pixels * 3, stdin) != pixels * 3) return 4;
  image.data = rgb;

  status = segdino_open(argv[1], NULL, &segmenter);
  if (status == SEGDINO_OK) status = segdino_segment(segmenter, &image, mask, pixels);
  if (status == SEGDINO_OK) {
    fwrite(mask, 1, pixels, stdout);
  } else {
    fprintf(stderr, "%s\n", segdino_last_error());
  }
  segdino_close(segmenter);
  free(mask);
  free(rgb);
  return (int)status;
}
