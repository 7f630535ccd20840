/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends: selectable sets of drivers, or a program's own meter, that can fill an interval. "native"
 * is every driver of Ergon; each driver is one of its own name; "null" measures nothing and is
 * always available. A program adds its own to a context without touching anything else.
 */
#ifndef ERGON_BACKEND_H
#define ERGON_BACKEND_H

#include <ergon/context.h>

ERGON_BEGIN

/** What a backend can tell. Bits. */
enum ergon_capability {
	ERGON_CAP_GPU_ENERGY = 1 << 0,
	ERGON_CAP_CPU_ENERGY = 1 << 1,
	ERGON_CAP_DRAM_ENERGY = 1 << 2,
	ERGON_CAP_SOC_ENERGY = 1 << 3,
	ERGON_CAP_GPU_ENERGY_PER_DEVICE = 1 << 4,
	ERGON_CAP_GPU_POWER = 1 << 5,
	ERGON_CAP_CPU_POWER = 1 << 6,
	ERGON_CAP_CARBON_EMISSIONS = 1 << 7,
	ERGON_CAP_FRAMEWORK_SYNC = 1 << 8
};

/** How it knows. */
enum ergon_method {
	ERGON_METHOD_NONE,
	ERGON_METHOD_HARDWARE_COUNTER,
	ERGON_METHOD_POWER_POLLING,
	ERGON_METHOD_ESTIMATION
};

/** What a backend says of itself. Strings live as long as the backend. */
struct ergon_backend_info {
	size_t size; /* sizeof(struct ergon_backend_info), set by the library */
	const char *name;
	const char *version;
	const char *hardware;  /* supported hardware, in words */
	uint32_t capabilities; /* enum ergon_capability */
	enum ergon_method method;
	double accuracy_percent; /* typical; 0 unknown */
};

/** Which of the values of ergon_metrics are there. Bits. */
enum ergon_metric {
	ERGON_METRIC_TOTAL = 1 << 0,
	ERGON_METRIC_GPU = 1 << 1,
	ERGON_METRIC_CPU = 1 << 2,
	ERGON_METRIC_DRAM = 1 << 3,
	ERGON_METRIC_SOC = 1 << 4,
	ERGON_METRIC_UNCERTAINTY = 1 << 5
};

#define ERGON_DEVICES_MAX 64

/** What a backend measured. A value whose bit in `present` is not set is absent, not 0. */
struct ergon_metrics {
	size_t size;	  /* sizeof(struct ergon_metrics), set by the library */
	uint32_t present; /* enum ergon_metric */
	uint64_t total_uj, gpu_uj, cpu_uj, dram_uj, soc_uj;
	uint64_t uncertainty_uj; /* of the total, half-width of 95 % */
	uint64_t duration_ns;
	enum ergon_method method;
	uint32_t n_gpus; /* entries of the next array */
	struct {
		char device[96];
		uint64_t uj;
	} gpu[ERGON_DEVICES_MAX];
	/** The weakest in the total: "measured", "modeled" or "estimated"; NULL: the backend does not
	 *  say. Static. */
	const char *provenance;
	uint64_t estimated_uj; /* held part of the total */
	uint64_t gap_ns;       /* longest time inside that one of its channels could not tell */
};

/** A program's own backend. Every function gets `user`; it may be called from any thread. */
struct ergon_backend_ops {
	size_t size; /* sizeof(struct ergon_backend_ops) */
	/** Not 0: it can measure here and now. */
	int (*is_available)(void *user);
	int (*get_info)(void *user, struct ergon_backend_info *ret);
	/** Begins; *ret_handle is passed to stop. 0 or a negative errno. */
	int (*start_tracking)(void *user, void **ret_handle);
	/** Ends, fills *ret and releases the handle. ret NULL: only releases it. */
	int (*stop_tracking)(void *user, void *handle, struct ergon_metrics *ret);
};

/** Energy being tracked by one backend. Opaque. */
typedef struct ergon_tracking ergon_tracking;

/**
 * Adds a backend to a context. name: 1 to 47 bytes, not taken; copied. ops: copied. user: borrowed
 * until the context closes. Errors: -EINVAL, -EEXIST, -ENOSPC above 32, -ENOMEM, -ESTALE.
 * Threads: any. Since: 0.1.
 */
ERGON_API int ergon_backend_register(ergon_context *ctx, const char *name,
				     const struct ergon_backend_ops *ops, void *user);
/** Name of backend `index` (built-in ones first), NULL at the end; borrowed. Since: 0.1. */
ERGON_API const char *ergon_backend_get_name(ergon_context *ctx, size_t index);
/** Not 0: it can measure here and now. Negative: -ENOENT unknown, -ESTALE. Since: 0.1. */
ERGON_API int ergon_backend_is_available(ergon_context *ctx, const char *name);
/** What it says of itself. Errors: -ENOENT, -ESTALE, the backend's own. Since: 0.1. */
ERGON_API int ergon_backend_get_info(ergon_context *ctx, const char *name,
				     struct ergon_backend_info *ret);
/**
 * Chooses the backend of the context: "auto" (native where it measures anything, else the first
 * available one that was registered, else null), a name, or "null".
 * Errors: -ENOENT unknown, -ENODEV known but cannot measure here (ergon_diagnostics() has the cure),
 * -ESTALE. Since: 0.1.
 */
ERGON_API int ergon_backend_select(ergon_context *ctx, const char *name);
/** The chosen one, and why in words; borrowed. NULL for a stale context. Since: 0.1. */
ERGON_API const char *ergon_backend_get_selected(ergon_context *ctx, const char **ret_why);

/**
 * Starts tracking with a backend; NULL: the chosen one. Errors: -ENOENT, -ENODEV, -ENOMEM, -ESTALE,
 * the backend's own. Owner: end it with ergon_tracking_stop(). Since: 0.1.
 */
ERGON_API int ergon_tracking_start(ergon_context *ctx, const char *backend,
				   ergon_tracking **ret) ERGON_MUST_CHECK;
/** Ends it and frees it, also on failure. ret NULL: the values are not wanted. Since: 0.1. */
ERGON_API int ergon_tracking_stop(ergon_tracking *tracking, struct ergon_metrics *ret);

/** Two backends over one interval. */
struct ergon_crosscheck {
	size_t size;
	struct ergon_metrics primary, secondary;
	int has_difference;	   /* both have a total */
	double difference_percent; /* secondary against primary; infinite against 0 */
	uint64_t joint_uncertainty_uj;
	int agree; /* difference within the joint uncertainty */
	uint64_t primary_overhead_ns, secondary_overhead_ns; /* spent in start and stop */
};

/** Both running at once. Opaque. */
typedef struct ergon_validation ergon_validation;
/**
 * Starts two backends at once on one interval. Errors as ergon_tracking_start(); -EINVAL the same
 * one twice. Since: 0.1.
 */
ERGON_API int ergon_validation_start(ergon_context *ctx, const char *primary, const char *secondary,
				     ergon_validation **ret) ERGON_MUST_CHECK;
/** Ends it and frees it, also on failure. A disagreement is also a diagnostic. Since: 0.1. */
ERGON_API int ergon_validation_stop(ergon_validation *validation,
				    struct ergon_crosscheck *ret) ERGON_MUST_CHECK;

ERGON_END

#endif
