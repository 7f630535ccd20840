/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVIDIA GPUs through NVML: the total-energy counter where the device has one (Volta and later),
 * else instant power (field 186, or nvmlDeviceGetPowerUsage) together with the ring of power
 * samples that the driver keeps, so that bursts between two reads are integrated. One channel a
 * physical GPU. Sources: NVIDIA's NVML reference; README.md beside this file.
 *
 * NVML's session is counted per process and may be ended under us; a device may be lost and come
 * back. Each is a status and a diagnostic for what it reaches, and is tried again with a back-off,
 * while the other GPUs go on. The epoch of readings never changes: whether the counter began again
 * meanwhile shows in its value (core takes a step back for a reset), and to declare one where the
 * counter only went on would count the joules since driver load once more.
 */
#include "drivers/nvml/nvml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define DRIVER	       "nvml"
#define MAX_UW_DEFAULT 1500000000ULL
#define UPDATE_MS      100
#define STATE_EVERY_NS (100 * EG_NSEC_PER_MSEC)
#define RING_GUARD_NS  (1500 * EG_NSEC_PER_MSEC) /* 119 samples, 17 ms apart under load: 2 s */
#define RETRY_FIRST_NS EG_NSEC_PER_SEC
#define RETRY_MAX_NS   (60 * EG_NSEC_PER_SEC)

static const char *const sonames[] = {"libnvidia-ml.so.1", "libnvidia-ml.so"};

static const char accuracy_counter[] =
	"NVML: 5 % (Zeus); 5 % or 5 W (NVIDIA); single cards -9 to +11 % (arXiv 2312.02741)";
static const char accuracy_power[] =
	"as the counter's 5 % and 10 % for sensors that see part of the time (arXiv 2312.02741)";

/* ---- the session: library, nvmlInit, handles ---- */

static int load(struct eg_instance *in, const char **ret_missing)
{
	const struct eg_loader *l = &in->env->loader;
	int r = -ENOENT;

	*ret_missing = NULL;
	for (size_t i = 0; i < EG_ARRAY_SIZE(sonames) && r == -ENOENT; i++) {
		void *lib;

		r = l->open(l->ctx, sonames[i], &lib);
		if (r < 0)
			continue;
		r = eg_nvml_resolve(l, lib, &in->api, ret_missing);
		if (r < 0) {
			l->close(l->ctx, lib);
			return r;
		}
		in->lib = lib;
		eg_copy(in->soname, sizeof(in->soname), sonames[i]);
	}
	return r;
}

static void unload(struct eg_instance *in)
{
	if (in->ready)
		in->api.shutdown();
	in->ready = false;
	if (in->lib)
		in->env->loader.close(in->env->loader.ctx, in->lib);
	in->lib = NULL;
}

/* What identifies a GPU across sessions: its UUID, else where it sits, else its index. */
static void identify(const struct eg_nvml_api *api, nvml_device_t h, unsigned index,
		     struct eg_nvml_device *d, char *device, size_t cap)
{
	struct nvml_pci_info pci[2] = {0}; /* twice the room: a newer struct may be longer */

	d->uuid[0] = d->pci[0] = '\0';
	if (!api->uuid || api->uuid(h, d->uuid, sizeof(d->uuid) - 1) != NVML_OK)
		d->uuid[0] = '\0';
	eg_nvml_text(d->uuid, sizeof(d->uuid));
	if (api->pci_info && api->pci_info(h, pci) == NVML_OK)
		eg_nvml_pci_text(pci, d->pci, sizeof(d->pci));
	if (d->uuid[0])
		snprintf(device, cap, "gpu-%.90s", d->uuid);
	else if (d->pci[0])
		snprintf(device, cap, "pci-%s", d->pci);
	else
		snprintf(device, cap, "gpu-nvml-%u", index);
}

/* Gives every device without a handle its handle; the others keep theirs. Lock held. */
static void bind_handles(struct eg_instance *in)
{
	uint32_t count = 0;

	if (in->api.count(&count) != NVML_OK)
		return;
	for (uint32_t k = 0; k < EG_MIN(count, (uint32_t)EG_NVML_DEVICES_MAX); k++) {
		struct eg_nvml_device found = {0};
		char device[EG_DEVICE_MAX];
		nvml_device_t h = NULL;

		if (in->api.handle_by_index(k, &h) != NVML_OK || !h)
			continue;
		identify(&in->api, h, k, &found, device, sizeof(device));
		for (size_t i = 0; i < in->n; i++)
			if (!in->dev[i].handle && strcmp(in->ch[i].device, device) == 0)
				in->dev[i].handle = h;
	}
}

static int start_session(struct eg_instance *in)
{
	int rc = in->api.init();

	in->ready = rc == NVML_OK;
	return rc;
}

/*
 * Ends the session and begins it again. After NVML_UNINITIALIZED our count is gone already, and
 * ending it once more would take another user's. After a driver update the library is loaded anew.
 */
static int restart_session(struct eg_instance *in)
{
	const char *missing;

	if (in->ready && in->trouble != NVML_UNINITIALIZED)
		in->api.shutdown();
	in->ready = false;
	for (size_t i = 0; i < in->n; i++)
		in->dev[i].handle = NULL;
	if (in->trouble == NVML_VERSION_MISMATCH || !in->lib) {
		unload(in);
		if (load(in, &missing) < 0)
			return NVML_VERSION_MISMATCH;
	}
	return start_session(in);
}

/* Looks up what was lost, by itself or with the whole session, not more often than allowed. */
static void recover(struct eg_instance *in, struct eg_diags *diags)
{
	uint64_t now = eg_clock_ns(&in->env->clock);
	size_t lost = 0;
	int rc = NVML_OK;

	for (size_t i = 0; i < in->n; i++)
		lost += !in->dev[i].handle;
	if ((in->ready && !in->trouble && !lost) || now < in->retry_ns)
		return;
	in->wait_ns = in->wait_ns ? EG_MIN(in->wait_ns * 2, RETRY_MAX_NS) : RETRY_FIRST_NS;
	in->retry_ns = now + in->wait_ns;
	pthread_mutex_lock(&in->lock);
	if (in->ready && !in->trouble)
		bind_handles(in);
	for (lost = 0; lost < in->n && !in->dev[lost].handle;)
		lost++;
	if (!in->ready || in->trouble || lost == in->n) {
		if (!in->trouble)
			in->trouble = NVML_GPU_IS_LOST;
		rc = restart_session(in);
		if (rc == NVML_OK)
			bind_handles(in);
	}
	pthread_mutex_unlock(&in->lock);
	if (rc == NVML_OK) {
		in->trouble = NVML_OK;
	} else {
		const struct eg_nvml_verdict *v = eg_nvml_verdict(rc);

		in->trouble = rc;
		eg_diag_add(diags, v->code, DRIVER, in->soname, v->cure, "nvmlInit: %s (%d)",
			    v->text, rc);
	}
}

/* ---- reading ---- */

static void drop_handle(struct eg_instance *in, struct eg_nvml_device *d)
{
	pthread_mutex_lock(&in->lock);
	d->handle = NULL;
	pthread_mutex_unlock(&in->lock);
}

/* What a failed call means for the device and the session; the status of its reading. */
static enum eg_status trouble(struct eg_instance *in, size_t i, const char *call, int rc,
			      struct eg_diags *diags)
{
	const struct eg_nvml_verdict *v = eg_nvml_verdict(rc);
	struct eg_nvml_device *d = &in->dev[i];

	eg_diag_add(diags, v->code, DRIVER, in->ch[i].domain, v->cure, "%s: %s (%d)", call, v->text,
		    rc);
	switch (v->reach) {
	case EG_NVML_CALL:
		break;
	case EG_NVML_SESSION:
		in->trouble = rc;
		break;
	case EG_NVML_DEVICE:
		d->gone = true;
		atomic_store(&d->flags, atomic_load(&d->flags) | EG_FLAG_BIT(EG_FLAG_LOST));
		drop_handle(in, d);
		break;
	case EG_NVML_HANDLE:
		drop_handle(in, d);
		break;
	}
	return v->status;
}

static void answered(struct eg_nvml_device *d)
{
	if (d->gone)
		atomic_store(&d->flags, atomic_load(&d->flags) & ~EG_FLAG_BIT(EG_FLAG_LOST));
	d->gone = false;
}

static void read_counter(struct eg_instance *in, size_t i, struct eg_sink *sink,
			 struct eg_diags *diags)
{
	struct eg_nvml_device *d = &in->dev[i];
	struct eg_reading r = {0};
	uint64_t mj = 0;
	int rc = in->api.energy(d->handle, &mj);

	r.t_ns = eg_clock_ns(&in->env->clock);
	if (rc == NVML_OK) {
		r.raw = mj;
		answered(d);
	} else {
		r.status = trouble(in, i, "nvmlDeviceGetTotalEnergyConsumption", rc, diags);
	}
	eg_sink_put(sink, i, &r);
}

/* Instant power now: 0 with *ret_mw, NVML's return code, or -errno for a value that is no power. */
static int power_now(const struct eg_nvml_api *api, nvml_device_t h, enum eg_nvml_way way,
		     uint64_t *ret_mw, const char **ret_call)
{
	struct nvml_field_value f = {.field_id = NVML_FIELD_POWER_INSTANT};
	uint32_t mw = 0;
	int rc;

	if (way == EG_NVML_FIELD && api->fields) {
		*ret_call = "nvmlDeviceGetFieldValues(POWER_INSTANT)";
		rc = api->fields(h, 1, &f);
		if (rc == NVML_OK)
			rc = f.ret;
		return rc == NVML_OK ? eg_nvml_value_mw(f.value_type, &f.value, ret_mw) : rc;
	}
	*ret_call = "nvmlDeviceGetPowerUsage";
	if (!api->power)
		return NVML_FUNCTION_NOT_FOUND;
	rc = api->power(h, &mw);
	if (rc == NVML_OK)
		*ret_mw = mw;
	return rc;
}

/* The samples that the driver took since the last point, oldest first. */
static void read_ring(struct eg_instance *in, size_t i, struct eg_sink *sink,
		      struct eg_diags *diags)
{
	struct eg_nvml_device *d = &in->dev[i];
	uint64_t now = eg_clock_ns(&in->env->clock);
	uint64_t unix_ns = eg_clock_unix_ns(&in->env->clock);
	uint64_t age = now - EG_MIN(d->last_ns, now),
		 seen_us = (unix_ns - EG_MIN(age, unix_ns)) / 1000;
	uint32_t n = EG_NVML_RING_MAX;
	int type = -1, count, rc;

	rc = in->api.samples(d->handle, NVML_SAMPLE_POWER, seen_us, &type, &n, in->sample);
	if (rc == NVML_NO_DATA || rc == NVML_NOT_FOUND)
		return;
	count = rc == NVML_OK && n <= EG_NVML_RING_MAX ?
			eg_nvml_ring_decode(in->sample, n, (uint32_t)type, d->last_ns, now, unix_ns,
					    in->point) :
			-EPROTO;
	if (count < 0) {
		const struct eg_nvml_verdict *v = eg_nvml_verdict(rc);

		/* Trouble beyond the ring shows in the call that follows. */
		if (rc != NVML_OK && v->reach != EG_NVML_CALL)
			return;
		d->ring = false;
		eg_diag_add(diags, EG_DIAG_CONFIG, DRIVER, in->ch[i].domain, "",
			    "the ring of power samples gives no answer (%d), so power is sampled "
			    "at the reads alone and bursts between them are missed",
			    rc);
		return;
	}
	for (int k = 0; k < count; k++) {
		const struct eg_nvml_point *p = &in->point[k];
		struct eg_reading r = {.raw = p->bad ? 0 : p->mw,
				       .t_ns = p->t_ns,
				       .status = p->bad ? EG_STATUS_ERROR : EG_STATUS_OK,
				       .bad = p->bad};

		d->last_ns = p->t_ns;
		eg_sink_put(sink, i, &r);
	}
}

static void read_gauge(struct eg_instance *in, size_t i, struct eg_sink *sink,
		       struct eg_diags *diags)
{
	struct eg_nvml_device *d = &in->dev[i];
	struct eg_reading r = {0};
	const char *call;
	uint64_t mw = 0;
	int rc;

	if (d->ring)
		read_ring(in, i, sink, diags);
	rc = power_now(&in->api, d->handle, d->way, &mw, &call);
	r.t_ns = eg_clock_ns(&in->env->clock);
	if (rc == NVML_OK) {
		r.raw = mw;
		d->last_ns = r.t_ns;
		answered(d);
	} else if (rc < 0) {
		r.status = EG_STATUS_ERROR;
		r.bad = rc == -ERANGE;
		eg_diag_add(diags, EG_DIAG_VALUE_REJECTED, DRIVER, in->ch[i].domain, "",
			    "%s gave no power: %s", call, eg_errno_text(rc));
	} else {
		r.status = trouble(in, i, call, rc, diags);
	}
	eg_sink_put(sink, i, &r);
}

static void refresh_state(struct eg_instance *in, struct eg_nvml_device *d)
{
	uint64_t now = eg_clock_ns(&in->env->clock), reasons = 0;
	uint32_t mode = 1, flags = 0;
	int32_t celsius = EG_NVML_NO_CELSIUS;
	uint64_t mw = 0;
	const char *call;

	if (!d->handle) {
		atomic_store(&d->celsius, EG_NVML_NO_CELSIUS);
		atomic_store(&d->sensor_uw, UINT64_MAX);
	}
	if (!d->handle || (d->state_ns && now - d->state_ns < STATE_EVERY_NS))
		return;
	d->state_ns = now;
	if (in->api.reasons && in->api.reasons(d->handle, &reasons) == NVML_OK &&
	    (reasons & NVML_REASONS_THROTTLED))
		flags |= EG_FLAG_BIT(EG_FLAG_THROTTLED);
	if (in->api.persistence && in->api.persistence(d->handle, &mode) == NVML_OK && !mode)
		flags |= EG_FLAG_BIT(EG_FLAG_PERSISTENCE);
	if (d->module)
		flags |= EG_FLAG_BIT(EG_FLAG_MODULE_SCOPE);
	if (d->gone)
		flags |= EG_FLAG_BIT(EG_FLAG_LOST);
	atomic_store(&d->flags, flags);
	if (eg_nvml_temperature(&in->api, d->handle, &celsius) < 0)
		celsius = EG_NVML_NO_CELSIUS;
	atomic_store(&d->celsius, celsius);
	if (d->way == EG_NVML_COUNTER)
		atomic_store(&d->sensor_uw,
			     power_now(&in->api, d->handle, EG_NVML_USAGE, &mw, &call) == NVML_OK ?
				     mw * 1000 :
				     UINT64_MAX);
}

static void nvml_read(struct eg_instance *in, struct eg_sink *sink, struct eg_diags *diags)
{
	bool all = true;

	recover(in, diags);
	for (size_t i = 0; i < in->n; i++) {
		struct eg_nvml_device *d = &in->dev[i];

		if (!in->ready || in->trouble || !d->handle) {
			struct eg_reading r = {.t_ns = eg_clock_ns(&in->env->clock),
					       .status = EG_STATUS_ERROR};

			eg_sink_put(sink, i, &r);
		} else if (d->way == EG_NVML_COUNTER) {
			read_counter(in, i, sink, diags);
		} else {
			read_gauge(in, i, sink, diags);
		}
		if (in->ready && !in->trouble)
			refresh_state(in, d);
		all = all && d->handle && !in->trouble;
	}
	if (all)
		in->wait_ns = in->retry_ns = 0;
}

/* ---- finding the channels ---- */

static uint64_t max_uw(const struct eg_nvml_api *api, nvml_device_t h, bool module)
{
	struct nvml_field_value f = {.field_id = NVML_FIELD_POWER_LIMIT_MAX};
	uint64_t max_mw = 0;
	uint32_t mw = 0;

	if (api->fields && (api->fields(h, 1, &f) != NVML_OK || f.ret != NVML_OK ||
			    eg_nvml_value_mw(f.value_type, &f.value, &max_mw) < 0))
		max_mw = 0;
	if (api->limit && api->limit(h, &mw) == NVML_OK)
		max_mw = EG_MAX(max_mw, (uint64_t)mw);
	/* Under 1 W or over 1 MW is no limit of a card. */
	if (max_mw < 1000 || max_mw > 1000000000)
		return MAX_UW_DEFAULT;
	return EG_MAX(max_mw * 1500, module ? MAX_UW_DEFAULT : 0);
}

static int choose_gauge(const struct eg_nvml_api *api, struct eg_nvml_device *d,
			const char **ret_call)
{
	uint64_t v = 0;
	int rc;

	d->way = EG_NVML_FIELD;
	rc = api->fields ? power_now(api, d->handle, d->way, &v, ret_call) : -EPROTO;
	if (rc != NVML_OK) {
		d->way = EG_NVML_USAGE;
		rc = power_now(api, d->handle, d->way, &v, ret_call);
	}
	return rc;
}

/*
 * Counter, else gauge; NVML's code when neither answers. A total of 0 mJ is no counter: a device
 * that has been up long enough to be asked has used energy.
 */
static int choose_way(const struct eg_nvml_api *api, struct eg_nvml_device *d,
		      const char **ret_call)
{
	uint32_t arch = 0;
	uint64_t v = 0;
	int energy = NVML_FUNCTION_NOT_FOUND;

	if (api->energy)
		energy = api->energy(d->handle, &v);
	d->way = EG_NVML_COUNTER;
	if (energy == NVML_OK && v > 0)
		return NVML_OK;
	/* A counter that must be there and only failed now. */
	if (energy != NVML_OK && energy != NVML_NOT_SUPPORTED &&
	    energy != NVML_FUNCTION_NOT_FOUND && api->architecture &&
	    api->architecture(d->handle, &arch) == NVML_OK && arch >= NVML_ARCH_VOLTA &&
	    arch < UINT32_MAX)
		return NVML_OK;
	return choose_gauge(api, d, ret_call);
}

static void fill_channel(const struct eg_instance *in, const struct eg_nvml_device *d,
			 uint64_t update_ns, struct eg_channel *ch)
{
	static const char *const symbol[] = {"nvmlDeviceGetTotalEnergyConsumption",
					     "nvmlDeviceGetFieldValues(186)",
					     "nvmlDeviceGetPowerUsage"};

	snprintf(ch->domain, sizeof(ch->domain), d->check ? "gpu-%u-power" : "gpu-%u", d->index);
	snprintf(ch->origin, sizeof(ch->origin), "%s: %s%s", in->soname, symbol[d->way],
		 d->ring ? ", nvmlDeviceGetSamples" : "");
	eg_copy(ch->label, sizeof(ch->label), d->name);
	ch->component = EG_COMPONENT_GPU;
	ch->source = EG_SOURCE_NVML;
	ch->boundary = EG_BOUNDARY_COMPONENT;
	ch->provenance = EG_PROVENANCE_MEASURED;
	ch->unit_num = 1000; /* mJ, mW */
	ch->unit_den = 1;
	ch->update_ns = update_ns;
	ch->max_uw = max_uw(&in->api, d->handle, d->module);
	ch->part_of = -1;
	if (d->way == EG_NVML_COUNTER) {
		ch->quantity = EG_QUANTITY_ENERGY;
		ch->zero_based = true;
		ch->resolution_uj = 1000;
		ch->accuracy = (struct eg_accuracy){50000, 5000000, accuracy_counter};
	} else {
		ch->quantity = EG_QUANTITY_POWER;
		ch->guard_ns = d->ring ? RING_GUARD_NS : 0;
		ch->accuracy = (struct eg_accuracy){150000, 5000000, accuracy_power};
	}
}

/* Does the ring of power samples answer? It may well be empty now. */
static bool has_ring(struct eg_instance *in, nvml_device_t h)
{
	uint32_t n = EG_NVML_RING_MAX;
	int type = -1, rc;

	if (!in->api.samples)
		return false;
	rc = in->api.samples(h, NVML_SAMPLE_POWER, 0, &type, &n, in->sample);
	return rc == NVML_OK || rc == NVML_NO_DATA || rc == NVML_NOT_FOUND;
}

static void add_device(struct eg_instance *in, unsigned index, uint64_t update_ns,
		       struct eg_diags *diags)
{
	struct eg_nvml_device *d = &in->dev[in->n];
	struct eg_channel *ch = &in->ch[in->n];
	const char *call = "nvmlDeviceGetHandleByIndex";
	char subject[EG_CHANNEL_NAME_MAX];
	int rc;

	*ch = (struct eg_channel){0};
	d->index = index;
	d->handle = NULL;
	atomic_store(&d->sensor_uw, UINT64_MAX);
	snprintf(subject, sizeof(subject), "gpu-%u", index);
	rc = in->api.handle_by_index(index, &d->handle);
	if (rc == NVML_OK && d->handle) {
		if (!in->api.name ||
		    in->api.name(d->handle, d->name, sizeof(d->name) - 1) != NVML_OK)
			d->name[0] = '\0';
		eg_nvml_text(d->name, sizeof(d->name));
		identify(&in->api, d->handle, index, d, ch->device, sizeof(ch->device));
		/* NVIDIA documents module scope for Grace Hopper; GB10 reads the GPU alone. */
		d->module = strstr(d->name, "GH200") != NULL;
		rc = choose_way(&in->api, d, &call);
	}
	if (rc != NVML_OK || !d->handle) {
		const struct eg_nvml_verdict *v = eg_nvml_verdict(rc);

		eg_diag_add(diags, v->code, DRIVER, subject, v->cure,
			    "%s %s: %s (%d); no energy of this GPU can be read", d->name, call,
			    v->text, rc);
		return;
	}
	d->ring = d->way != EG_NVML_COUNTER && has_ring(in, d->handle);
	d->last_ns = eg_clock_ns(&in->env->clock);
	fill_channel(in, d, update_ns, ch);
	if (d->module)
		eg_diag_add(diags, EG_DIAG_CONFIG, DRIVER, subject, "",
			    "on %s the sensor covers CPU and GPU of the module", d->name);
	if (d->way != EG_NVML_COUNTER && !d->ring)
		eg_diag_add(
			diags, EG_DIAG_CONFIG, DRIVER, subject,
			"sample faster, so that less is missed",
			"%s has neither an energy counter nor a ring of power samples: its power "
			"is sampled at the reads alone",
			d->name);
	refresh_state(in, d);
	in->n++;
}

/*
 * The power of the last device once more beside its counter, integrated: the same joules by another
 * way, for whoever wants to compare them. One row more of the same GPU. Nothing where it has no power.
 */
static void add_check(struct eg_instance *in, uint64_t update_ns)
{
	const struct eg_nvml_device *of = &in->dev[in->n - 1];
	struct eg_nvml_device *d = &in->dev[in->n];
	const char *call;

	if (of->way != EG_NVML_COUNTER || in->n == EG_NVML_DEVICES_MAX)
		return;
	d->index = of->index;
	d->handle = of->handle;
	d->module = of->module;
	d->check = true;
	memcpy(d->name, of->name, sizeof(d->name));
	memcpy(d->uuid, of->uuid, sizeof(d->uuid));
	memcpy(d->pci, of->pci, sizeof(d->pci));
	if (choose_gauge(&in->api, d, &call) != NVML_OK)
		return;
	d->ring = has_ring(in, d->handle);
	d->last_ns = eg_clock_ns(&in->env->clock);
	in->ch[in->n] = (struct eg_channel){0};
	memcpy(in->ch[in->n].device, in->ch[in->n - 1].device, sizeof(in->ch[0].device));
	fill_channel(in, d, update_ns, &in->ch[in->n]);
	refresh_state(in, d);
	in->n++;
}

static int find_devices(struct eg_instance *in, uint64_t update_ns, bool check,
			struct eg_diags *diags)
{
	uint32_t count = 0;
	int rc = in->api.count(&count);

	if (rc != NVML_OK) {
		const struct eg_nvml_verdict *v = eg_nvml_verdict(rc);

		eg_diag_add(diags, v->code, DRIVER, in->soname, v->cure,
			    "nvmlDeviceGetCount: %s (%d)", v->text, rc);
		return v->err;
	}
	if (count == 0) {
		eg_diag_add(diags, EG_DIAG_SENSOR_ABSENT, DRIVER, in->soname,
			    "in a container, pass GPUs through (--gpus all)",
			    "the NVIDIA driver answers and shows no GPU to this process");
		return -ENODEV;
	}
	if (count > EG_NVML_DEVICES_MAX)
		eg_diag_add(diags, EG_DIAG_NOT_COUNTED, DRIVER, in->soname, "",
			    "%u GPUs; only the first %d are read", count, EG_NVML_DEVICES_MAX);
	for (uint32_t i = 0; i < count && in->n < EG_NVML_DEVICES_MAX; i++) {
		size_t before = in->n;

		add_device(in, i, update_ns, diags);
		if (check && in->n > before)
			add_check(in, update_ns);
	}
	if (in->n > 0)
		return 0;
	eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, DRIVER, in->soname, EG_NVML_CURE_MUTE,
		    "NVML initialises, but no GPU of it tells energy or power");
	return -ENODEV;
}

static int open_library(struct eg_instance *in, struct eg_diags *diags)
{
	const char *missing;
	int r = load(in, &missing), rc;

	if (missing) {
		eg_diag_add(diags, EG_DIAG_SENSOR_UNSUPPORTED, DRIVER, sonames[0],
			    "update the NVIDIA driver", "the library has no %s", missing);
		return r;
	}
	if (r == -ENOENT) {
		eg_diag_add(diags, EG_DIAG_SENSOR_ABSENT, DRIVER, sonames[0],
			    "install the NVIDIA driver with its management library; in a container "
			    "set NVIDIA_DRIVER_CAPABILITIES=utility",
			    "the library is not on this machine");
		return r;
	}
	if (r < 0) {
		eg_diag_add(diags, EG_DIAG_SENSOR_ERROR, DRIVER, sonames[0],
			    "reinstall the NVIDIA driver for this machine's architecture",
			    "the library is there and cannot be loaded: %s", eg_errno_text(r));
		return r;
	}
	rc = start_session(in);
	if (rc != NVML_OK) {
		const struct eg_nvml_verdict *v = eg_nvml_verdict(rc);

		eg_diag_add(diags, v->code, DRIVER, in->soname, v->cure, "nvmlInit: %s (%d)",
			    v->text, rc);
		return v->err;
	}
	return 0;
}

static int update_setting(const struct eg_driver_config *cfg, uint64_t *ret_ns)
{
	const char *text = eg_setting_get(cfg, DRIVER, "update_ms");
	uint64_t ms = UPDATE_MS;

	if (text && (eg_parse_u64(text, strlen(text), &ms) < 0 || ms < 1 || ms > 10000)) {
		eg_diag_add(cfg->diags, EG_DIAG_CONFIG, DRIVER, "update_ms",
			    "give milliseconds from 1 to 10000", "\"%.40s\" is no update period",
			    text);
		return -EINVAL;
	}
	*ret_ns = ms * EG_NSEC_PER_MSEC;
	return 0;
}

static void nvml_close(struct eg_instance *in)
{
	if (!in)
		return;
	unload(in);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

static int nvml_open(const struct eg_env *env, const struct eg_driver_config *cfg,
		     struct eg_instance **ret)
{
	struct eg_instance *in;
	uint64_t update_ns;
	int r = update_setting(cfg, &update_ns);

	if (r < 0)
		return r;
	in = calloc(1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	in->env = env;
	pthread_mutex_init(&in->lock, NULL);
	r = open_library(in, cfg->diags);
	if (r == 0)
		r = find_devices(in, update_ns, eg_setting_on(cfg, DRIVER, "power_check"),
				 cfg->diags);
	if (r < 0) {
		nvml_close(in);
		return r;
	}
	*ret = in;
	return 0;
}

static int nvml_probe(const struct eg_env *env)
{
	const struct eg_loader *l = &env->loader;
	void *lib;
	int r = l->open(l->ctx, sonames[0], &lib);

	if (r == -ENOENT)
		r = l->open(l->ctx, sonames[1], &lib);
	if (r == 0)
		l->close(l->ctx, lib);
	return r;
}

static size_t nvml_describe(const struct eg_instance *in, const struct eg_channel **ret)
{
	*ret = in->ch;
	return in->n;
}

static uint32_t nvml_flags(const struct eg_instance *in, size_t channel)
{
	return channel < in->n ? atomic_load(&in->dev[channel].flags) : 0;
}

static int nvml_temperature(const struct eg_instance *in, size_t channel, double *ret_celsius)
{
	int32_t celsius = channel < in->n ? atomic_load(&in->dev[channel].celsius) :
					    EG_NVML_NO_CELSIUS;

	if (celsius == EG_NVML_NO_CELSIUS)
		return -ENODATA;
	*ret_celsius = celsius;
	return 0;
}

static int nvml_power(const struct eg_instance *in, size_t channel, uint64_t *ret_uw)
{
	uint64_t uw = channel < in->n ? atomic_load(&in->dev[channel].sensor_uw) : UINT64_MAX;

	if (uw == UINT64_MAX)
		return -ENODATA;
	*ret_uw = uw;
	return 0;
}

static const struct eg_option options[] = {
	{"update_ms", EG_OPTION_U64, "100",
	 "how often the energy counter or power sensor moves; 10 to 100 ms by model"},
	{"power_check", EG_OPTION_BOOL, "false",
	 "beside an energy counter integrate the power too, to compare them"},
	{NULL},
};

const struct eg_driver eg_driver_nvml = {
	.name = DRIVER,
	.summary = "NVIDIA GPUs: energy counter or power, by NVML",
	.source = EG_SOURCE_NVML,
	.maturity = EG_MATURITY_HARDWARE,
	.blocking_ns = 200 * EG_NSEC_PER_MSEC,
	.options = options,
	.probe = nvml_probe,
	.open = nvml_open,
	.describe = nvml_describe,
	.read = nvml_read,
	.attributes = eg_nvml_attributes,
	.flags = nvml_flags,
	.temperature = nvml_temperature,
	.power = nvml_power,
	.close = nvml_close,
};
