/* Which functions a shared library shows. Nothing to read here for users. */
#ifndef SEGDINO_EXPORT_H
#define SEGDINO_EXPORT_H

#if defined(SEGDINO_STATIC)
#define SEGDINO_API
#elif defined(_WIN32) && defined(SEGDINO_BUILDING)
#define SEGDINO_API __declspec(dllexport)
#elif defined(_WIN32)
#define SEGDINO_API __declspec(dllimport)
#else
#define SEGDINO_API __attribute__((visibility("default")))
#endif

#endif
