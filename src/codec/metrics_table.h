/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every metric family of the page, once: the writer and docs/metrics.md come from these tables. Names
 * are without the suffix that the format adds (codec/exposition.h). X(id, type, name, unit, labels,
 * help); labels are for the documentation.
 */
#ifndef EG_CODEC_METRICS_TABLE_H
#define EG_CODEC_METRICS_TABLE_H

#include "codec/exposition.h"

#define L_ACCOUNT "device, component, source, provenance, boundary"
#define L_SENSOR  "driver, channel, device, component, source"

/* clang-format off: it folds a table into stairs */
#define EG_METRICS_OWN(X)                                                                                 \
	X(BUILD, INFO, "ergon_build", NULL, "version, revision", "The agent's version.")                  \
	X(ENERGY, COUNTER, "ergon_energy_joules", "joules", L_ACCOUNT,                                    \
	  "Energy used, exact to the microjoule; never falls. Series overlap: never add boundaries "      \
	  "(component, node, facility); package contains core and uncore, gpu contains gpu_memory, an "   \
	  "integrated gpu lies in its package. A safe sum takes one component, or package, dram and "     \
	  "discrete gpu. provenance=estimated is what was held over lost readings, beside the measured.") \
	X(POWER, GAUGE, "ergon_power_watts", "watts", L_ACCOUNT,                                          \
	  "Power at the last reading; absent while the sensor is down. Series overlap as those of "       \
	  "ergon_energy_joules_total.")                                                                   \
	X(UNCERTAINTY, GAUGE, "ergon_energy_uncertainty_ratio", "ratio", L_ACCOUNT,                       \
	  "Half-width of the 95 % interval over the energy itself, of what the sensor told since the "    \
	  "agent started, held readings included.")                                                       \
	X(RECOVERED, COUNTER, "ergon_recovered_joules", "joules", L_ACCOUNT,                              \
	  "Part of ergon_energy_joules_total that was used while no agent ran, told by the hardware "     \
	  "counter afterwards.")                                                                          \
	X(UP, GAUGE, "ergon_sensor_up", NULL, L_SENSOR,                                                   \
	  "1 if the last reading was a value, else 0. Absent for a device that is not here now.")         \
	X(AGE, GAUGE, "ergon_reading_age_seconds", "seconds", L_SENSOR,                                   \
	  "Age of the last good reading when the page was written.")                                      \
	X(GAP, COUNTER, "ergon_gap_seconds", "seconds", L_SENSOR,                                         \
	  "Time whose energy is not known and not in any total.")                                         \
	X(RESETS, COUNTER, "ergon_counter_resets", NULL, L_SENSOR,                                        \
	  "Resets of the hardware counter that were seen.")                                               \
	X(DEVICE, INFO, "ergon_device", NULL, "device, and one label for each text attribute",            \
	  "Identity of a device, as its interface tells it.")

/* X(id, type, name, unit, help, field of struct eg_agent_facts, kind of value). */
#define EG_METRICS_AGENT(X)                                                                              \
	X(START, GAUGE, "ergon_agent_start_time_seconds", "seconds",                                     \
	  "Unix time of the agent's start.", start_unix_ns, UNIX)                                        \
	X(CPU, COUNTER, "ergon_agent_cpu_seconds", "seconds",                                            \
	  "CPU time of the agent, user and system.", cpu_ns, NANO)                                       \
	X(WAKEUPS, COUNTER, "ergon_agent_wakeups", NULL, "Wake-ups of the agent's event loop.",          \
	  wakeups, COUNT)                                                                                \
	X(RESIDENT, GAUGE, "ergon_agent_resident_bytes", "bytes", "Resident memory of the agent.",       \
	  resident_bytes, COUNT)                                                                         \
	X(OWN_ENERGY, COUNTER, "ergon_agent_energy_joules", "joules",                                    \
	  "Energy of the agent itself: its share of the CPU packages by CPU time. It is inside the "     \
	  "packages' energy.",                                                                           \
	  energy_uj, MODELED)                                                                            \
	X(TICKS, COUNTER, "ergon_agent_ticks", NULL, "Samples taken.", ticks, COUNT)                     \
	X(MISSED, COUNTER, "ergon_agent_missed_ticks", NULL,                                             \
	  "Samples that were due and came too late to be taken.", missed_ticks, COUNT)                   \
	X(REQUESTS, COUNTER, "ergon_agent_http_requests", NULL, "HTTP requests answered.",               \
	  http_requests, COUNT)                                                                          \
	X(REFUSED, COUNTER, "ergon_agent_http_refused", NULL,                                            \
	  "HTTP connections or requests refused by a limit or without the right.", http_refused,         \
	  COUNT)                                                                                         \
	X(CLIENTS, GAUGE, "ergon_agent_http_clients", NULL, "HTTP connections open.",                    \
	  http_clients, COUNT)                                                                           \
	X(STREAMS, GAUGE, "ergon_agent_streams", NULL, "Event streams open.", streams, COUNT)            \
	X(STREAM_DROPS, COUNTER, "ergon_agent_stream_drops", NULL,                                       \
	  "Events not sent to streams whose reader was too slow.", stream_drops, COUNT)                  \
	X(WINDOWS, GAUGE, "ergon_agent_windows", NULL,                                                   \
	  "Measurement windows open through the API.", windows, COUNT)                                   \
	X(SCRAPES, COUNTER, "ergon_agent_scrapes", NULL, "Pages of metrics written.", scrapes,           \
	  COUNT)                                                                                         \
	X(SKIPPED, COUNTER, "ergon_agent_snapshots_skipped", NULL,                                       \
	  "Publications skipped because every snapshot was being read.", snapshots_skipped, COUNT)       \
	X(LOG_DROPPED, COUNTER, "ergon_agent_log_lines_dropped", NULL,                                   \
	  "Lines of the agent's log that were not written.", log_lines_dropped, COUNT)                   \
	X(DIAG_DROPPED, COUNTER, "ergon_agent_diagnostics_dropped", NULL,                                \
	  "Diagnostics above the ceiling of the list.", diagnostics_dropped, COUNT)                      \
	X(ACCOUNTS_REFUSED, COUNTER, "ergon_agent_accounts_refused", NULL,                               \
	  "Accounts refused above the ceiling of the ledger: their energy is in no total.",              \
	  accounts_refused, COUNT)                                                                       \
	X(LEDGER, GAUGE, "ergon_agent_ledger_enabled", NULL,                                             \
	  "1 if totals are kept on disk, else 0: then they begin anew with each start.",                 \
	  store_enabled, FLAG)                                                                           \
	X(LEDGER_FAILING, GAUGE, "ergon_agent_ledger_failing", NULL,                                     \
	  "1 while the log of the ledger cannot be written, else 0. Nothing is lost: it stays pending.", \
	  log_failing, STORE_FLAG)                                                                       \
	X(LEDGER_BYTES, GAUGE, "ergon_agent_ledger_log_bytes", "bytes",                                  \
	  "Size of the log of the ledger.", log_bytes, STORE)                                            \
	X(LEDGER_PENDING, GAUGE, "ergon_agent_ledger_pending_joules", "joules",                          \
	  "Energy in the checkpoint that the log does not have yet: at risk in a power loss.",           \
	  log_pending_uj, STORE_MICRO)                                                                   \
	X(LEDGER_FAILED, COUNTER, "ergon_agent_ledger_failed_flushes", NULL,                             \
	  "Writes of the log that failed.", log_failed_flushes, STORE)                                   \
	X(LEDGER_COMPACTIONS, COUNTER, "ergon_agent_ledger_compactions", NULL,                           \
	  "Times the log was written anew, shorter.", log_compactions, STORE)                            \
	X(LEDGER_DAMAGED, COUNTER, "ergon_agent_ledger_damaged_records", NULL,                           \
	  "Records of the log that could not be read at the start and were left out.",                   \
	  log_damaged_records, STORE)                                                                    \
	X(LEDGER_FLUSH, GAUGE, "ergon_agent_ledger_last_flush_timestamp_seconds", "seconds",             \
	  "Unix time of the last write of the log.", last_flush_unix_ns, STORE_UNIX)                     \
	X(RELOAD_OK, GAUGE, "ergon_agent_config_reload_success", NULL,                                   \
	  "1 if the last reload of the configuration was taken, 0 if the old one was kept.",             \
	  config_reload_ok, RELOAD_FLAG)                                                                 \
	X(RELOAD_TIME, GAUGE, "ergon_agent_config_reload_timestamp_seconds", "seconds",                  \
	  "Unix time of the last reload of the configuration.", config_reload_unix_ns, UNIX)

/* Not a fact that the agent brings. */
#define EG_METRICS_PAGE(X)                                          \
	X(LEFT_OUT, GAUGE, "ergon_agent_series_left_out", NULL, "", \
	  "Series that this page leaves out: above a ceiling, or with the labels of another series.")

#define L_GPU "gpu, instance, gpu_uuid, gpu_index"
#define L_CPU "cpu_model, instance, hostname, index"
#define L_MEM "instance, hostname, index"
#define EG_METRICS_ALL_SMI(X)                                              \
	X(SMI_ENERGY, COUNTER, "all_smi_energy_consumed_joules", "joules", \
	  "host, scope; gpu: gpu_index, gpu_uuid; cpu: package",           \
	  "Cumulative energy consumption in Joules.")

#define EG_METRICS_ALL_SMI_ROWS(X)                                                                \
	X(SMI_GPU_UTIL, GAUGE, "all_smi_gpu_utilization", NULL, L_GPU,                            \
	  "GPU utilization in percent.")                                                          \
	X(SMI_GPU_USED, GAUGE, "all_smi_gpu_memory_used_bytes", "bytes", L_GPU,                   \
	  "GPU memory in use.")                                                                   \
	X(SMI_GPU_TOTAL, GAUGE, "all_smi_gpu_memory_total_bytes", "bytes", L_GPU,                 \
	  "GPU memory in all.")                                                                   \
	X(SMI_GPU_CELSIUS, GAUGE, "all_smi_gpu_temperature_celsius", "celsius", L_GPU,            \
	  "GPU temperature.")                                                                     \
	X(SMI_GPU_WATTS, GAUGE, "all_smi_gpu_power_consumption_watts", "watts", L_GPU,            \
	  "GPU power.")                                                                           \
	X(SMI_GPU_MHZ, GAUGE, "all_smi_gpu_frequency_mhz", NULL, L_GPU, "GPU clock in MHz.")      \
	X(SMI_GPU_LIMIT, GAUGE, "all_smi_gpu_power_limit_current_watts", "watts", L_GPU,          \
	  "GPU power limit in force.")                                                            \
	X(SMI_GPU_INFO, GAUGE, "all_smi_gpu_info", NULL,                                          \
	  L_GPU ", type, driver_version, pci_address", "GPU identity.")                           \
	X(SMI_CPU_UTIL, GAUGE, "all_smi_cpu_utilization", NULL, L_CPU,                            \
	  "CPU utilization in percent.")                                                          \
	X(SMI_CPU_SOCKETS, GAUGE, "all_smi_cpu_socket_count", NULL, L_CPU, "CPU sockets.")        \
	X(SMI_CPU_CORES, GAUGE, "all_smi_cpu_core_count", NULL, L_CPU, "CPU cores.")              \
	X(SMI_CPU_THREADS, GAUGE, "all_smi_cpu_thread_count", NULL, L_CPU, "CPU threads online.") \
	X(SMI_CPU_MHZ, GAUGE, "all_smi_cpu_frequency_mhz", NULL, L_CPU, "CPU clock in MHz.")      \
	X(SMI_CPU_CELSIUS, GAUGE, "all_smi_cpu_temperature_celsius", "celsius", L_CPU,            \
	  "CPU temperature.")                                                                     \
	X(SMI_CPU_WATTS, GAUGE, "all_smi_cpu_power_consumption_watts", "watts", L_CPU,            \
	  "Power of the CPU packages together.")                                                  \
	X(SMI_CPU_INFO, GAUGE, "all_smi_cpu_info", NULL, L_CPU ", architecture, platform_type",   \
	  "CPU identity.")                                                                        \
	X(SMI_MEM_TOTAL, GAUGE, "all_smi_memory_total_bytes", "bytes", L_MEM, "Memory in all.")   \
	X(SMI_MEM_USED, GAUGE, "all_smi_memory_used_bytes", "bytes", L_MEM,                       \
	  "Memory in use: all less available.")                                                   \
	X(SMI_MEM_AVAILABLE, GAUGE, "all_smi_memory_available_bytes", "bytes", L_MEM,             \
	  "Memory available to programs.")                                                        \
	X(SMI_MEM_FREE, GAUGE, "all_smi_memory_free_bytes", "bytes", L_MEM,                       \
	  "Memory used for nothing.")                                                             \
	X(SMI_MEM_BUFFERS, GAUGE, "all_smi_memory_buffers_bytes", "bytes", L_MEM,                 \
	  "Memory in buffers.")                                                                   \
	X(SMI_MEM_CACHED, GAUGE, "all_smi_memory_cached_bytes", "bytes", L_MEM,                   \
	  "Memory in the page cache.")                                                            \
	X(SMI_MEM_UTIL, GAUGE, "all_smi_memory_utilization", NULL, L_MEM,                         \
	  "Memory in use in percent.")

#define EG_METRICS_DCGM(X)                                                                    \
	X(DCGM_POWER, GAUGE, "DCGM_FI_DEV_POWER_USAGE", NULL, L_DCGM, "Power draw (in W).")   \
	X(DCGM_ENERGY, FOREIGN_COUNTER, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", NULL, L_DCGM, \
	  "Total energy consumption since boot (in mJ).")
#define L_DCGM "gpu, UUID, pci_bus_id, device, modelName, hostname, DCGM_FI_DRIVER_VERSION"
/* clang-format on */

enum eg_metrics_family {
#define X(id, ...) EG_MF_##id,
	EG_METRICS_OWN(X) EG_METRICS_AGENT(X) EG_METRICS_PAGE(X) EG_METRICS_ALL_SMI(X)
		EG_METRICS_ALL_SMI_ROWS(X) EG_METRICS_DCGM(X)
#undef X
			EG_MF_COUNT
};

extern const struct eg_expo_family eg_metrics_family[EG_MF_COUNT];

#endif
