/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of design section 2, once. Each X(id, "word", "help") table feeds the enum, the text in
 * every output, the help and the documentation; the order of provenance is the order of strength.
 */
#ifndef EG_CORE_VOCAB_H
#define EG_CORE_VOCAB_H

/* Where a joule is used. */
#define EG_COMPONENTS(X)                                                               \
	X(PACKAGE, "package", "CPU package: cores, caches, memory controller")         \
	X(CORE, "core", "CPU cores (part of a package)")                               \
	X(UNCORE, "uncore", "CPU uncore or integrated graphics (part of a package)")   \
	X(DRAM, "dram", "memory modules")                                              \
	X(PSYS, "psys", "platform as the CPU's power controller sees it")              \
	X(GPU, "gpu", "graphics or accelerator card")                                  \
	X(GPU_MEMORY, "gpu_memory", "memory of a card (part of a gpu)")                \
	X(ANE, "ane", "Apple neural engine")                                           \
	X(SOC, "soc", "system on chip or compute module")                              \
	X(PSU, "psu", "power supply input")                                            \
	X(CHASSIS, "chassis", "whole machine")                                         \
	X(FAN, "fan", "fans")                                                          \
	X(NETWORK, "network", "network interfaces")                                    \
	X(STORAGE, "storage", "disks")                                                 \
	X(OUTLET, "outlet", "PDU outlet")                                              \
	X(UPS, "ups", "UPS output")                                                    \
	X(METER, "meter", "utility or sub-meter")                                      \
	X(BATTERY, "battery", "battery discharge: the whole machine while on battery") \
	X(RAIL, "rail", "supply rail of unknown extent; shown, never in a total")

/* The interface that was read. */
#define EG_SOURCES(X)                                                 \
	X(NVML, "nvml", "NVIDIA Management Library")                  \
	X(DCGM, "dcgm", "NVIDIA Data Center GPU Manager")             \
	X(RAPL, "rapl", "running average power limit counters")       \
	X(IPMI, "ipmi", "IPMI DCMI")                                  \
	X(REDFISH, "redfish", "Redfish")                              \
	X(PDU, "pdu", "power distribution unit")                      \
	X(UPS, "ups", "uninterruptible power supply")                 \
	X(SMART_METER, "smart_meter", "smart meter")                  \
	X(AMD_SMI, "amd_smi", "AMD SMI, ROCm SMI or amdgpu sysfs")    \
	X(INTEL_GPU, "intel_gpu", "Intel i915 or xe")                 \
	X(HWMON, "hwmon", "Linux hardware monitoring chips")          \
	X(BATTERY, "battery", "power_supply class")                   \
	X(POWERMETRICS, "powermetrics", "macOS powermetrics")         \
	X(CPU_MODEL, "cpu_model", "CPU power model over utilisation") \
	X(OTHER, "other", "a backend added by a program")

/* How a joule is known, weakest last. A value never moves up. */
#define EG_PROVENANCES(X)                                                           \
	X(MEASURED, "measured", "read from a hardware counter or sensor interface") \
	X(MODELED, "modeled", "by a cited model")                                   \
	X(ESTIMATED, "estimated", "inferred, or a held reading")

#define EG_BOUNDARIES(X)                                   \
	X(COMPONENT, "component", "one part of a machine") \
	X(NODE, "node", "one whole machine")               \
	X(FACILITY, "facility", "above the machine")

#define EG_QUANTITIES(X)              \
	X(ENERGY, "energy", "joules") \
	X(POWER, "power", "watts")

#define EG_STATUSES(X)                                        \
	X(OK, "ok", "a value")                                \
	X(NO_DATA, "no_data", "nothing to read now")          \
	X(STALE, "stale", "the sensor repeats an old value")  \
	X(DENIED, "denied", "no right to read")               \
	X(ERROR, "error", "the read failed or gave nonsense") \
	X(RESET, "reset", "the counter was reset by its driver")

/* Things a window wants its reader to know. Never blocking. */
#define EG_FLAGS(X)                                                                                \
	X(SHORT, "short_measurement_duration", "window shorter than 10 s")                         \
	X(PERSISTENCE, "gpu_persistence_mode_off", "enable it: nvidia-smi -pm 1")                  \
	X(THERMAL, "thermal_drift_detected", "temperature moved by more than 10 C")                \
	X(FEW_SAMPLES, "low_sample_count", "fewer than 10 samples of an integrated gauge")         \
	X(NVML_FEW, "nvml_low_sample_count", "fewer than 10 NVML power samples")                   \
	X(THROTTLED, "throttled", "the device reported throttling")                                \
	X(BELOW_PERIOD, "below_counter_period", "window shorter than the counter's update period") \
	X(GAP, "gap", "part of the window was not measured")                                       \
	X(RESET, "reset", "the counter was reset inside the window")                               \
	X(LOST, "device_lost", "the device stopped answering")                                     \
	X(SUSPEND, "suspend", "the machine slept inside the window")                               \
	X(BAD_SAMPLES, "bad_samples", "readings that were no power were left out")                 \
	X(CEILING, "above_ceiling",                                                                \
	  "readings above the channel's plausible maximum were left out")                          \
	X(HELD, "held", "part of the energy is a held reading (estimated)")                        \
	X(DISAGREE, "crosscheck_disagree",                                                         \
	  "a second interface differs by more than both uncertainties")                            \
	X(MODULE_SCOPE, "module_scope", "the counter covers CPU and GPU of one module")

#define EG_DIAG_CODES(X)                                                                   \
	X(SENSOR_ABSENT, "sensor_absent", "the hardware or its driver is not there")       \
	X(SENSOR_BLOCKED, "sensor_blocked", "there, but this process may not read it")     \
	X(SENSOR_UNSUPPORTED, "sensor_unsupported", "there, but cannot tell energy")       \
	X(SENSOR_ERROR, "sensor_error", "the read failed or gave nonsense")                \
	X(SENSOR_TIMEOUT, "sensor_timeout", "the read did not end in time")                \
	X(VALUE_REJECTED, "value_rejected", "a reading outside what the channel can show") \
	X(COUNTER_GAP, "counter_gap", "energy of an interval cannot be known")             \
	X(COUNTER_RESET, "counter_reset", "a counter was reset")                           \
	X(CROSSCHECK, "crosscheck", "two interfaces disagree on one quantity")             \
	X(ESTIMATOR, "estimator", "about an estimate and its model")                       \
	X(NOT_COUNTED, "not_counted", "shown, but left out of the total, and why")         \
	X(CONFIG, "config", "a setting has an effect worth knowing")

#define EG_ENUM_(p, id, word, help) p##_##id,
#define EG_X_COMPONENT(id, w, h)    EG_ENUM_(EG_COMPONENT, id, w, h)
#define EG_X_SOURCE(id, w, h)	    EG_ENUM_(EG_SOURCE, id, w, h)
#define EG_X_PROVENANCE(id, w, h)   EG_ENUM_(EG_PROVENANCE, id, w, h)
#define EG_X_BOUNDARY(id, w, h)	    EG_ENUM_(EG_BOUNDARY, id, w, h)
#define EG_X_QUANTITY(id, w, h)	    EG_ENUM_(EG_QUANTITY, id, w, h)
#define EG_X_STATUS(id, w, h)	    EG_ENUM_(EG_STATUS, id, w, h)
#define EG_X_FLAG(id, w, h)	    EG_ENUM_(EG_FLAG, id, w, h)
#define EG_X_DIAG(id, w, h)	    EG_ENUM_(EG_DIAG, id, w, h)

enum eg_component { EG_COMPONENTS(EG_X_COMPONENT) EG_COMPONENT_COUNT };
enum eg_source { EG_SOURCES(EG_X_SOURCE) EG_SOURCE_COUNT };
enum eg_provenance { EG_PROVENANCES(EG_X_PROVENANCE) EG_PROVENANCE_COUNT };
enum eg_boundary { EG_BOUNDARIES(EG_X_BOUNDARY) EG_BOUNDARY_COUNT };
enum eg_quantity { EG_QUANTITIES(EG_X_QUANTITY) EG_QUANTITY_COUNT };
enum eg_status { EG_STATUSES(EG_X_STATUS) EG_STATUS_COUNT };
enum eg_flag { EG_FLAGS(EG_X_FLAG) EG_FLAG_COUNT };
enum eg_diag_code { EG_DIAG_CODES(EG_X_DIAG) EG_DIAG_CODE_COUNT };

/* Bit of a flag in a set of flags. */
#define EG_FLAG_BIT(f) (1u << (f))

/* The word and the help of a value; "?" for a value outside the table. */
const char *eg_component_word(enum eg_component v);
const char *eg_source_word(enum eg_source v);
const char *eg_provenance_word(enum eg_provenance v);
const char *eg_boundary_word(enum eg_boundary v);
const char *eg_quantity_word(enum eg_quantity v);
const char *eg_status_word(enum eg_status v);
const char *eg_flag_word(enum eg_flag v);
const char *eg_flag_help(enum eg_flag v);
const char *eg_diag_word(enum eg_diag_code v);
const char *eg_diag_help(enum eg_diag_code v);

#endif
