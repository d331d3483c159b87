/* Looks for a key among ascending ones. */
#ifndef TRIMSEEK_KEYS_H
#define TRIMSEEK_KEYS_H

#include <stdint.h>

/*
 * The first place whose key is not smaller; `count` where there is none. Keys were given one after
 * another, and some are gone: the place that the key would have among evenly spread ones is near.
 */
static inline int64_t place_of_key(const int64_t *keys, int64_t count, int64_t key)
{
    if (!count || keys[count - 1] < key)
        return count;
    if (keys[0] >= key)
        return 0;
    const double share = (double)(key - keys[0]) / (double)(keys[count - 1] - keys[0]);
    int64_t low = 0, high = count - 1; /* keys[low] < key <= keys[high] */
    int64_t near = (int64_t)(share * (double)high), step = 1;
    if (keys[near] < key) {
        for (low = near; low + step < high && keys[low + step] < key; step *= 2)
            low += step;
        high = low + step < high ? low + step : high;
    } else {
        for (high = near; high - step > low && keys[high - step] >= key; step *= 2)
            high -= step;
        low = high - step > low ? high - step : low;
    }
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle;
        else
            high = middle;
    }
    return high;
}

#endif
