/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server reflection (grpc/doc/server-reflection.md) on the gRPC server, v1 and v1alpha: which services
 * there are, and the descriptors of their messages, so that a client such as grpcurl needs no .proto
 * files. It answers from FileDescriptorSets that protoc wrote when the program was built (embed.py).
 */
#ifndef EG_GRPC_REFLECTION_H
#define EG_GRPC_REFLECTION_H

#include "grpc/grpc.h"

#define EG_GRPC_REFLECTION_METHODS 2
#define EG_GRPC_REFLECTION_FILES   64 /* of all sets; more: -E2BIG */
#define EG_GRPC_REFLECTION_DEPTH   16 /* messages within messages that are looked into */

/* A google.protobuf.FileDescriptorSet. */
struct eg_grpc_descriptors {
	const unsigned char *data;
	size_t len;
};

/* Those of health checks and of reflection itself. */
extern const struct eg_grpc_descriptors eg_grpc_own_descriptors;

struct eg_grpc_reflection;
/*
 * sets are borrowed; so is methods, the server's table, which says what services there are and may be
 * filled until the server opens. -EPROTO: a set is none.
 */
int eg_grpc_reflection_new(const struct eg_grpc_descriptors *const *sets, size_t n_sets,
			   const struct eg_grpc_method *methods, size_t n_methods,
			   struct eg_grpc_reflection **ret) EG_MUST_CHECK;
/* After the server was closed. Takes NULL. */
struct eg_grpc_reflection *eg_grpc_reflection_free(struct eg_grpc_reflection *r);
void eg_grpc_reflection_methods(struct eg_grpc_reflection *r,
				struct eg_grpc_method ret[EG_GRPC_REFLECTION_METHODS]);

#endif
