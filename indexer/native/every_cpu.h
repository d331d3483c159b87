/* Functions that are compiled for several CPUs, of which the best that there is runs. */
#ifndef TRIMSEEK_EVERY_CPU_H
#define TRIMSEEK_EVERY_CPU_H

#if defined(__x86_64__) && defined(__gnu_linux__)
#define EVERY_CPU __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define EVERY_CPU
#endif

#endif
