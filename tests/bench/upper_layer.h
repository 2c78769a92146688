/* What the two C programs of the benchmark share: big and little endian numbers, whole reads and writes, and the few
 * item types of PS3.8 that they need. Everything else of the standard is left out on purpose. */
#ifndef BENCH_UPPER_LAYER_H
#define BENCH_UPPER_LAYER_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { /* PDU types (PS3.8 section 9.3.1) */
    ASSOCIATE_RQ = 1, ASSOCIATE_AC = 2, P_DATA_TF = 4, RELEASE_RQ = 5, RELEASE_RP = 6,
};
enum { /* item types (PS3.8 sections 9.3.2, 9.3.3 and annex D) */
    APPLICATION_CONTEXT = 0x10, PROPOSED_CONTEXT = 0x20, ACCEPTED_CONTEXT = 0x21, ABSTRACT_SYNTAX = 0x30,
    TRANSFER_SYNTAX = 0x40, USER_INFORMATION = 0x50, MAXIMUM_LENGTH = 0x51, IMPLEMENTATION_CLASS = 0x52,
};
enum { PDV_COMMAND = 1, PDV_LAST = 2 };      /* message control header (PS3.8 annex E.2) */
enum { PDU_HEADER = 6, PDV_HEADER = 6 };     /* bytes; a PDV's length field does not count itself */
enum { ASSOCIATE_FIXED = 68 };               /* bytes between the PDU header and the first item */
enum { UID_BYTES = 64 };                     /* longest UID (PS3.5 section 9.1) */

#define APPLICATION_CONTEXT_NAME "1.2.840.10008.3.1.1.1"

static inline void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(2);
}

static inline void put16(uint8_t *at, unsigned value) { at[0] = (uint8_t)(value >> 8); at[1] = (uint8_t)value; }
static inline void put32(uint8_t *at, uint32_t value) { put16(at, value >> 16); put16(at + 2, value & 0xffff); }
static inline unsigned get16(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }
static inline uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static inline void put16le(uint8_t *at, unsigned value) { at[0] = (uint8_t)value; at[1] = (uint8_t)(value >> 8); }
static inline void put32le(uint8_t *at, uint32_t value) { put16le(at, value & 0xffff); put16le(at + 2, value >> 16); }
static inline unsigned get16le(const uint8_t *at) { return at[0] | (unsigned)at[1] << 8; }
static inline uint32_t get32le(const uint8_t *at) { return get16le(at) | (uint32_t)get16le(at + 2) << 16; }

/* Exactly so many bytes; 0 if the peer closed the connection. */
static inline int read_whole(int descriptor, uint8_t *to, size_t count) {
    while (count) {
        ssize_t got = read(descriptor, to, count);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        to += got;
        count -= (size_t)got;
    }
    return 1;
}

/* Every byte of the vector, whose entries are used up. */
static inline int write_whole(int descriptor, struct iovec *parts, int count) {
    while (count) {
        ssize_t put = writev(descriptor, parts, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return 0;
        while (count && (size_t)put >= parts->iov_len) {
            put -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count) {
            parts->iov_base = (uint8_t *)parts->iov_base + put;
            parts->iov_len -= (size_t)put;
        }
    }
    return 1;
}

/* One item with its header; the bytes written. */
static inline size_t put_item(uint8_t *at, unsigned type, const void *value, size_t length) {
    at[0] = (uint8_t)type;
    at[1] = 0;
    put16(at + 2, (unsigned)length);
    memcpy(at + 4, value, length);
    return length + 4;
}

/* One element of a command set, implicit VR little endian (PS3.7 section 6.3.1), padded to even length with NUL. */
static inline size_t put_element(uint8_t *at, unsigned element, const void *value, uint32_t length) {
    uint32_t even = length + (length & 1);
    put16le(at, 0);
    put16le(at + 2, element);
    put32le(at + 4, even);
    if (even) at[8 + even - 1] = 0;
    memcpy(at + 8, value, length);
    return 8 + even;
}

/* A UID value as a C string, without its padding. */
static inline void copy_uid(char *to, const uint8_t *value, size_t length) {
    if (length > UID_BYTES) fail("a UID that is too long");
    memcpy(to, value, length);
    while (length && (to[length - 1] == 0 || to[length - 1] == ' ')) length--;
    to[length] = 0;
}

#endif
