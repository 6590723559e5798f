/* replay.c -- run a fuzz target over every file of a folder, in builds without libFuzzer.
 *
 * usage: fuzz_NAME_replay FOLDER-OR-FILE...
 * Prints each file before it is run, so that the last one is the one that failed, and how many there were; none is a
 * failure.
 */
#include <errno.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

static unsigned files;

static int run_file(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)where;
    if (kind != FTW_F)
        return 0;
    FILE *f = fopen(path, "rb");
    size_t n = (size_t)status->st_size;
    uint8_t *octets = malloc(n ? n : 1);
    if (!f || !octets || fread(octets, 1, n, f) != n) {
        fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
        return 1;
    }
    fclose(f);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(octets, n);
    free(octets);
    files++;
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (nftw(argv[i], run_file, 16, FTW_PHYS) != 0)
            return 1;
    printf("%u files\n", files);
    return files ? 0 : 1;
}
