/* Sends Part 10 files by C-STORE over several associations at once, as fast as the receiver takes them.
 *
 *     sender PORT CALLED CALLING ASSOCIATIONS LIST
 *
 * LIST is a file with one path on each line; association k of n sends the lines k, k + n, k + 2n, ... Each association
 * is a thread. It must never be the bottleneck: files are mapped and in memory before the clock starts, no byte of
 * pixels is copied in this program (writev), TCP_NODELAY is set, and nothing is done between a response and the next
 * request.
 *
 * Prints "status HEX COUNT" for each status, and then "time BEGIN END" in seconds of CLOCK_MONOTONIC, from before the
 * first connect to the last response. Exit status: 0 if every object was answered, whatever the answers were. */
#define _GNU_SOURCE
#include "upper_layer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum { OUR_MAXIMUM = 131072 };   /* bytes of a PDU that we would send at most, whatever the peer allows */
enum { FRAGMENTS_AT_ONCE = 500 }; /* two vector entries each; Linux takes 1,024 */

typedef struct {
    const uint8_t *dataset;
    size_t length;
    char sop_class[UID_BYTES + 1], sop_instance[UID_BYTES + 1], syntax[UID_BYTES + 1];
    uint8_t context;
} Object;

typedef struct {
    pthread_t thread;
    Object *objects;
    unsigned *statuses;
    int count;
    double last_response_s;
} Association;

static struct { int port; const char *called, *calling; } target;
static pthread_barrier_t start_line;

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Map a file and read its file meta information (PS3.10 section 7.1), which is explicit VR little endian. */
static Object load(const char *path) {
    Object object = {0};
    struct stat status;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &status)) fail(path);
    size_t size = (size_t)status.st_size;
    const uint8_t *content = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    if (content == MAP_FAILED) fail(path);
    close(file);
    if (size < 144 || memcmp(content + 128, "DICM", 4)) fail(path);
    const uint8_t *at = content + 144, *end = at + get32le(content + 140);
    while (at < end) {
        unsigned element = get16le(at + 2);
        int is_long = !memcmp(at + 4, "OB", 2) || !memcmp(at + 4, "UN", 2);
        size_t length = is_long ? get32le(at + 8) : get16le(at + 6);
        const uint8_t *value = at + (is_long ? 12 : 8);
        if (element == 0x02) copy_uid(object.sop_class, value, length);
        if (element == 0x03) copy_uid(object.sop_instance, value, length);
        if (element == 0x10) copy_uid(object.syntax, value, length);
        at = value + length;
    }
    object.dataset = end;
    object.length = size - (size_t)(end - content);
    return object;
}

/* One presentation context for each pair of SOP class and transfer syntax, in the order of their first use. */
static size_t put_contexts(uint8_t *to, Association *association) {
    const Object *known[128];
    unsigned count = 0;
    size_t written = 0;
    for (int i = 0; i < association->count; i++) {
        Object *object = &association->objects[i];
        unsigned k = 0;
        while (k < count && (strcmp(known[k]->sop_class, object->sop_class) || strcmp(known[k]->syntax, object->syntax)))
            k++;
        object->context = (uint8_t)(2 * k + 1);
        if (k < count) continue;
        if (count == 128) fail("more than 128 presentation contexts");
        known[count++] = object;
        uint8_t item[4 + 2 * (4 + UID_BYTES)] = {object->context};
        size_t length = 4;
        length += put_item(item + length, ABSTRACT_SYNTAX, object->sop_class, strlen(object->sop_class));
        length += put_item(item + length, TRANSFER_SYNTAX, object->syntax, strlen(object->syntax));
        written += put_item(to + written, PROPOSED_CONTEXT, item, length);
    }
    return written;
}

static void request_association(int connection, Association *association) {
    uint8_t request[32768], user[128], maximum[4];
    memset(request, 0, PDU_HEADER + ASSOCIATE_FIXED);
    request[0] = ASSOCIATE_RQ;
    put16(request + PDU_HEADER, 1); /* protocol version */
    memset(request + 10, ' ', 32);
    memcpy(request + 10, target.called, strlen(target.called));
    memcpy(request + 26, target.calling, strlen(target.calling));
    size_t length = PDU_HEADER + ASSOCIATE_FIXED;
    length += put_item(request + length, APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME, strlen(APPLICATION_CONTEXT_NAME));
    length += put_contexts(request + length, association);
    put32(maximum, OUR_MAXIMUM);
    size_t user_length = put_item(user, MAXIMUM_LENGTH, maximum, 4);
    user_length += put_item(user + user_length, IMPLEMENTATION_CLASS, "2.25.4242", 9);
    length += put_item(request + length, USER_INFORMATION, user, user_length);
    put32(request + 2, (uint32_t)(length - PDU_HEADER));
    struct iovec whole = {request, length};
    if (!write_whole(connection, &whole, 1)) fail("the association request");
}

/* Read the A-ASSOCIATE-AC; the longest PDU that we may send. Every context must have been accepted. */
static uint32_t accepted_length(int connection) {
    uint8_t header[PDU_HEADER], body[32768];
    if (!read_whole(connection, header, PDU_HEADER)) fail("the answer to the association request");
    uint32_t length = get32(header + 2), maximum = 0;
    if (header[0] != ASSOCIATE_AC || length > sizeof body) fail("the association was not accepted");
    if (!read_whole(connection, body, length)) fail("the association acceptance");
    for (const uint8_t *item = body + ASSOCIATE_FIXED; item < body + length; item += 4 + get16(item + 2)) {
        if (item[0] == ACCEPTED_CONTEXT && item[6]) fail("a presentation context was not accepted");
        if (item[0] != USER_INFORMATION) continue;
        const uint8_t *end = item + 4 + get16(item + 2);
        for (const uint8_t *sub = item + 4; sub < end; sub += 4 + get16(sub + 2))
            if (sub[0] == MAXIMUM_LENGTH) maximum = get32(sub + 4);
    }
    return maximum == 0 || maximum > OUR_MAXIMUM ? OUR_MAXIMUM : maximum; /* 0 means no limit */
}

/* The P-DATA-TF with the C-STORE-RQ (PS3.7 section 9.3.1.1); its length. */
static size_t put_command(uint8_t *to, const Object *object, unsigned message_id) {
    uint8_t *elements = to + PDU_HEADER + PDV_HEADER + 12, value[4];
    size_t length = put_element(elements, 0x0002, object->sop_class, (uint32_t)strlen(object->sop_class));
    put16le(value, 0x0001); /* C-STORE-RQ */
    length += put_element(elements + length, 0x0100, value, 2);
    put16le(value, message_id);
    length += put_element(elements + length, 0x0110, value, 2);
    put16le(value, 0); /* priority: medium */
    length += put_element(elements + length, 0x0700, value, 2);
    put16le(value, 1); /* a data set follows */
    length += put_element(elements + length, 0x0800, value, 2);
    length += put_element(elements + length, 0x1000, object->sop_instance, (uint32_t)strlen(object->sop_instance));
    put32le(value, (uint32_t)length);
    length += put_element(to + PDU_HEADER + PDV_HEADER, 0x0000, value, 4); /* group length, in front */
    to[0] = P_DATA_TF;
    to[1] = 0;
    put32(to + 2, (uint32_t)(length + PDV_HEADER));
    put32(to + 6, (uint32_t)(length + 2));
    to[10] = object->context;
    to[11] = PDV_COMMAND | PDV_LAST;
    return length + PDU_HEADER + PDV_HEADER;
}

static void send_object(int connection, const Object *object, unsigned message_id, uint32_t maximum) {
    uint8_t command[512], headers[FRAGMENTS_AT_ONCE][PDU_HEADER + PDV_HEADER];
    struct iovec parts[1 + 2 * FRAGMENTS_AT_ONCE];
    const size_t most = maximum - PDV_HEADER;
    size_t done = 0;
    int count = 0, fragments = 0;
    parts[count++] = (struct iovec){command, put_command(command, object, message_id)};
    while (done < object->length) {
        size_t size = object->length - done < most ? object->length - done : most;
        uint8_t *header = headers[fragments++];
        header[0] = P_DATA_TF;
        header[1] = 0;
        put32(header + 2, (uint32_t)(size + PDV_HEADER));
        put32(header + 6, (uint32_t)(size + 2));
        header[10] = object->context;
        header[11] = done + size == object->length ? PDV_LAST : 0;
        parts[count++] = (struct iovec){header, PDU_HEADER + PDV_HEADER};
        parts[count++] = (struct iovec){(void *)(object->dataset + done), size};
        done += size;
        if (fragments == FRAGMENTS_AT_ONCE || done == object->length) {
            if (!write_whole(connection, parts, count)) fail("sending an object");
            count = fragments = 0;
        }
    }
}

/* Status of the C-STORE-RSP, which comes in one PDU with one PDV. */
static unsigned read_status(int connection) {
    uint8_t header[PDU_HEADER], body[4096];
    if (!read_whole(connection, header, PDU_HEADER)) fail("the answer to an object");
    uint32_t length = get32(header + 2);
    if (header[0] != P_DATA_TF || length > sizeof body) fail("an answer that is no C-STORE-RSP");
    if (!read_whole(connection, body, length)) fail("the answer to an object");
    for (const uint8_t *at = body + PDV_HEADER; at + 8 <= body + length; at += 8 + get32le(at + 4))
        if (get16le(at + 2) == 0x0900) return get16le(at + 8);
    fail("an answer without status");
    return 0;
}

static void *run_association(void *argument) {
    Association *association = argument;
    uint8_t release[PDU_HEADER + 4] = {RELEASE_RQ, 0, 0, 0, 0, 4};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)target.port)};
    int on = 1, connection = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pthread_barrier_wait(&start_line);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    request_association(connection, association);
    uint32_t maximum = accepted_length(connection);
    for (int i = 0; i < association->count; i++) {
        send_object(connection, &association->objects[i], (unsigned)(i % 65535) + 1, maximum);
        association->statuses[i] = read_status(connection);
    }
    association->last_response_s = now_s();
    struct iovec whole = {release, sizeof release};
    if (!write_whole(connection, &whole, 1) || !read_whole(connection, release, sizeof release)) fail("release");
    close(connection);
    return NULL;
}

int main(int argument_count, char **arguments) {
    if (argument_count != 6) {
        fprintf(stderr, "usage: sender PORT CALLED CALLING ASSOCIATIONS LIST\n");
        return 2;
    }
    target.port = atoi(arguments[1]);
    target.called = arguments[2];
    target.calling = arguments[3];
    int associations = atoi(arguments[4]), total = 0;
    FILE *list = fopen(arguments[5], "r");
    if (!list || associations < 1 || strlen(target.called) > 16 || strlen(target.calling) > 16) fail("the arguments");
    signal(SIGPIPE, SIG_IGN);

    Association *all = calloc((size_t)associations, sizeof *all);
    char path[4096];
    while (fgets(path, sizeof path, list)) {
        path[strcspn(path, "\n")] = 0;
        Association *association = &all[total++ % associations];
        size_t count = (size_t)++association->count;
        association->objects = realloc(association->objects, count * sizeof(Object));
        association->statuses = realloc(association->statuses, count * sizeof(unsigned));
        association->objects[count - 1] = load(path);
    }
    fclose(list);

    pthread_barrier_init(&start_line, NULL, (unsigned)associations + 1);
    for (int k = 0; k < associations; k++)
        if (pthread_create(&all[k].thread, NULL, run_association, &all[k])) fail("a thread");
    double begin_s = now_s(), end_s = begin_s;
    pthread_barrier_wait(&start_line);
    static unsigned counts[0x10000];
    for (int k = 0; k < associations; k++) {
        pthread_join(all[k].thread, NULL);
        if (all[k].last_response_s > end_s) end_s = all[k].last_response_s;
        for (int i = 0; i < all[k].count; i++) counts[all[k].statuses[i]]++;
    }
    for (unsigned status = 0; status < 0x10000; status++)
        if (counts[status]) printf("status %04x %u\n", status, counts[status]);
    printf("time %.6f %.6f\n", begin_s, end_s);
    fflush(stdout); /* whoever waits for it must not wait until all mappings are gone, too */
    return 0;
}
