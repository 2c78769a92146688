/* The plainest durable receiver that can be written: what the benchmark's "C program" row compares with.
 *
 *     reference_receiver PORT FOLDER
 *
 * One process for each association, no locks, no checks, no parsing of the data set. Fragments go from a 2 MiB receive
 * buffer into a new file by writev without being copied. Before an object is answered, in this order: the file is
 * fsynced, its folder is fsynced, and one row ("SOP instance UID, file, bytes") is appended to the index of this
 * process and fdatasynced. The index is a text file and no database, which is the cheapest durable row there is.
 *
 * It trusts its peer completely. It exists to be measured. */
#define _GNU_SOURCE
#include "upper_layer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { BUFFER = 2 << 20, MAXIMUM_PDU = 131072, MOST_PIECES = 1024, COMMAND_BYTES = 4096 };

typedef struct { int connection; size_t lo, hi; uint8_t bytes[BUFFER]; } Wire; /* lo..hi is unread */

typedef struct {
    char sop_class[UID_BYTES + 1], sop_instance[UID_BYTES + 1];
    unsigned message_id;
} Request;

typedef struct {
    int descriptor;
    char name[64];
    size_t written;
    struct iovec pieces[MOST_PIECES]; /* parts of the receive buffer that are still to be written */
    int count;
} File;

static struct { int folder, index; unsigned serial; char syntaxes[256][UID_BYTES + 1]; } self;
static Wire wire;

/* ---- the file ---- */

static void flush_file(File *file) {
    if (file->count && !write_whole(file->descriptor, file->pieces, file->count)) fail("writing");
    file->count = 0;
}

static void add_piece(File *file, uint8_t *bytes, size_t length) {
    if (file->count == MOST_PIECES) flush_file(file);
    file->pieces[file->count++] = (struct iovec){bytes, length};
    file->written += length;
}

/* One UI element of the file meta information, explicit VR little endian. */
static size_t put_meta(uint8_t *at, unsigned element, const char *uid) {
    size_t length = strlen(uid), even = length + (length & 1);
    put16le(at, 2);
    put16le(at + 2, element);
    memcpy(at + 4, "UI", 2);
    put16le(at + 6, (unsigned)even);
    at[8 + even - 1] = 0;
    memcpy(at + 8, uid, length);
    return 8 + even;
}

static void begin_file(File *file, const Request *request, uint8_t context) {
    uint8_t head[512] = {0};
    size_t length = 144;
    snprintf(file->name, sizeof file->name, "%d-%u.dcm", (int)getpid(), self.serial++);
    file->descriptor = openat(self.folder, file->name, O_WRONLY | O_CREAT | O_EXCL, 0640);
    if (file->descriptor < 0) fail(file->name);
    length += put_meta(head + length, 0x02, request->sop_class);
    length += put_meta(head + length, 0x03, request->sop_instance);
    length += put_meta(head + length, 0x10, self.syntaxes[context]);
    memcpy(head + 128, "DICM\2\0\0\0UL\4\0", 12);
    put32le(head + 140, (uint32_t)(length - 144));
    file->written = file->count = 0;
    struct iovec whole = {head, length};
    if (!write_whole(file->descriptor, &whole, 1)) fail("writing");
}

static void make_durable(File *file, const Request *request) {
    char row[256];
    flush_file(file);
    if (fsync(file->descriptor) || close(file->descriptor) || fsync(self.folder)) fail("fsync");
    int length = snprintf(row, sizeof row, "%s %s %zu\n", request->sop_instance, file->name, file->written);
    if (write(self.index, row, (size_t)length) != length || fdatasync(self.index)) fail("the index");
}

/* ---- the wire ---- */

/* Have so many unread bytes in one piece. What was taken before stays in place while the buffer has room; else the
 * pieces of the file are written out first, because the unread bytes move to the start. 0 at the end. */
static int have(size_t count, File *file) {
    while (wire.hi - wire.lo < count) {
        if (BUFFER - wire.lo < count || wire.hi == BUFFER) {
            if (file) flush_file(file);
            memmove(wire.bytes, wire.bytes + wire.lo, wire.hi - wire.lo);
            wire.hi -= wire.lo;
            wire.lo = 0;
        }
        ssize_t got = read(wire.connection, wire.bytes + wire.hi, BUFFER - wire.hi);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        wire.hi += (size_t)got;
    }
    return 1;
}

static void answer(const uint8_t *bytes, size_t length) {
    struct iovec whole = {(void *)bytes, length};
    if (!write_whole(wire.connection, &whole, 1)) fail("answering");
}

/* Accept every context with the first transfer syntax that was proposed. */
static void accept_association(void) {
    uint8_t reply[65536], user[64], maximum[4];
    if (!have(PDU_HEADER, NULL)) exit(0); /* somebody looked whether the port is open */
    size_t length = get32(wire.bytes + wire.lo + 2);
    if (wire.bytes[wire.lo] != ASSOCIATE_RQ || !have(PDU_HEADER + length, NULL)) fail("no association request");
    const uint8_t *request = wire.bytes + wire.lo, *end = request + PDU_HEADER + length;
    size_t size = PDU_HEADER + ASSOCIATE_FIXED;
    memcpy(reply, request, size);
    reply[0] = ASSOCIATE_AC;
    size += put_item(reply + size, APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME, strlen(APPLICATION_CONTEXT_NAME));
    for (const uint8_t *item = request + size - 4 - strlen(APPLICATION_CONTEXT_NAME); item < end; item += 4 + get16(item + 2)) {
        if (item[0] != PROPOSED_CONTEXT) continue;
        const uint8_t *sub = item + 8;
        while (sub[0] != TRANSFER_SYNTAX) sub += 4 + get16(sub + 2);
        copy_uid(self.syntaxes[item[4]], sub + 4, get16(sub + 2));
        uint8_t accepted[4 + 4 + UID_BYTES] = {item[4]};
        size_t accepted_size = 4 + put_item(accepted + 4, TRANSFER_SYNTAX, sub + 4, get16(sub + 2));
        size += put_item(reply + size, ACCEPTED_CONTEXT, accepted, accepted_size);
    }
    put32(maximum, MAXIMUM_PDU);
    size_t user_size = put_item(user, MAXIMUM_LENGTH, maximum, 4);
    user_size += put_item(user + user_size, IMPLEMENTATION_CLASS, "2.25.4243", 9);
    size += put_item(reply + size, USER_INFORMATION, user, user_size);
    put32(reply + 2, (uint32_t)(size - PDU_HEADER));
    wire.lo += PDU_HEADER + length;
    answer(reply, size);
}

static Request parse_command(const uint8_t *at, const uint8_t *end) {
    Request request = {.message_id = 0};
    for (; at + 8 <= end; at += 8 + get32le(at + 4)) {
        unsigned element = get16le(at + 2), length = get32le(at + 4);
        if (element == 0x0002) copy_uid(request.sop_class, at + 8, length);
        if (element == 0x0110) request.message_id = get16le(at + 8);
        if (element == 0x1000) copy_uid(request.sop_instance, at + 8, length);
    }
    return request;
}

/* C-STORE-RSP with status success (PS3.7 section 9.3.1.2). */
static void answer_success(const Request *request, uint8_t context) {
    uint8_t reply[512] = {P_DATA_TF}, value[4], *elements = reply + PDU_HEADER + PDV_HEADER;
    size_t length = 12 + put_element(elements + 12, 0x0002, request->sop_class, (uint32_t)strlen(request->sop_class));
    put16le(value, 0x8001);
    length += put_element(elements + length, 0x0100, value, 2);
    put16le(value, request->message_id);
    length += put_element(elements + length, 0x0120, value, 2);
    put16le(value, 0x0101);
    length += put_element(elements + length, 0x0800, value, 2);
    put16le(value, 0);
    length += put_element(elements + length, 0x0900, value, 2);
    length += put_element(elements + length, 0x1000, request->sop_instance, (uint32_t)strlen(request->sop_instance));
    put32le(value, (uint32_t)(length - 12));
    put_element(elements, 0x0000, value, 4);
    put32(reply + 2, (uint32_t)(length + PDV_HEADER));
    put32(reply + 6, (uint32_t)(length + 2));
    reply[10] = context;
    reply[11] = PDV_COMMAND | PDV_LAST;
    answer(reply, length + PDU_HEADER + PDV_HEADER);
}

/* Take the next fragment; its header. The bytes of a data set become pieces of the file. 0 at the end of the data. */
static int next_fragment(size_t *left_in_pdu, File *file, uint8_t *context, uint8_t *control, size_t *length) {
    while (!*left_in_pdu) {
        if (!have(PDU_HEADER, file)) return 0;
        uint8_t type = wire.bytes[wire.lo];
        if (type != P_DATA_TF) return 0;
        *left_in_pdu = get32(wire.bytes + wire.lo + 2);
        wire.lo += PDU_HEADER;
    }
    if (!have(PDV_HEADER, file)) return 0;
    *length = get32(wire.bytes + wire.lo) - 2;
    *context = wire.bytes[wire.lo + 4];
    *control = wire.bytes[wire.lo + 5];
    wire.lo += PDV_HEADER;
    *left_in_pdu -= PDV_HEADER + *length;
    return have(*length, file); /* a fragment is never longer than a PDU, and so always fits into the buffer */
}

static void serve(void) {
    static File file;
    const uint8_t release[PDU_HEADER + 4] = {RELEASE_RP, 0, 0, 0, 0, 4};
    size_t left_in_pdu = 0, length;
    uint8_t context, control;
    Request request = {.message_id = 0};
    int is_open = 0;
    accept_association();
    while (next_fragment(&left_in_pdu, is_open ? &file : NULL, &context, &control, &length)) {
        uint8_t *value = wire.bytes + wire.lo;
        wire.lo += length;
        if (control & PDV_COMMAND) {
            request = parse_command(value, value + length);
            begin_file(&file, &request, context);
            is_open = 1;
            continue;
        }
        add_piece(&file, value, length);
        if (control & PDV_LAST) {
            make_durable(&file, &request);
            is_open = 0;
            answer_success(&request, context);
            if (wire.lo == wire.hi) wire.lo = wire.hi = 0;
        }
    }
    if (wire.hi - wire.lo >= PDU_HEADER && wire.bytes[wire.lo] == RELEASE_RQ) answer(release, sizeof release);
}

int main(int argument_count, char **arguments) {
    if (argument_count != 3) {
        fprintf(stderr, "usage: reference_receiver PORT FOLDER\n");
        return 2;
    }
    int on = 1, listening = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 64)) fail("the port");
    self.folder = open(arguments[2], O_RDONLY | O_DIRECTORY);
    if (self.folder < 0) fail(arguments[2]);
    signal(SIGCHLD, SIG_IGN); /* ended children need no burial */
    for (;;) {
        wire.connection = accept(listening, NULL, NULL);
        if (wire.connection < 0) continue;
        if (fork() == 0) {
            char name[64];
            close(listening);
            setsockopt(wire.connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            snprintf(name, sizeof name, "%d.index", (int)getpid());
            self.index = openat(self.folder, name, O_WRONLY | O_CREAT | O_APPEND, 0640);
            if (self.index < 0) fail(name);
            serve();
            return 0;
        }
        close(wire.connection);
    }
}
