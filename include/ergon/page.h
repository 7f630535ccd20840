/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The energy page: a file that `ergon agent` keeps (/run/ergon/energy) and any permitted program maps
 * read-only, so that it reads the totals of the machine in nanoseconds, without a system call, without
 * rights of its own to the sensors, and without losing anything while it does not run.
 *
 *	ergon_page *page;
 *	ergon_page_mark *mark;
 *	struct ergon_page_delta used = ERGON_PAGE_DELTA_INIT;
 *
 *	if (ergon_page_open(NULL, &page) < 0 || ergon_page_state(page) != ERGON_PAGE_LIVE)
 *		... no agent here, or no right: measure in this process, with ergon_open()
 *	ergon_page_mark_new(page, &mark);
 *	work();
 *	if (ergon_page_since(page, mark, &used) == 0)
 *		printf("%.3f J%s\n", used.uj / 1e6, used.flags ? ", at least" : "");
 *
 * Windows over a page are in ergon/page_window.h. The page moves in steps of the agent's interval (1 s
 * unless its configuration says otherwise), so what is shorter is measured by ergon_window_begin() of
 * an ergon_open() of one's own, or by a window of the agent's HTTP interface. ergon_open() never looks
 * at the page.
 *
 * Any number of threads may call on one page at once, but for ergon_page_close(), during which no
 * other call on it may run. After fork() the child may go on with it. Nobody but the agent and root
 * can write to a page; who can may also cut it short, which ends a reader by SIGBUS as with every
 * mapped file. All else that a damaged or hostile file may hold is found by ergon_page_open() or gives
 * wrong numbers, nothing worse. docs/energy-page.md has the layout.
 */
#ifndef ERGON_PAGE_H
#define ERGON_PAGE_H

#include <ergon/version.h>

ERGON_BEGIN

/** An open energy page. Opaque. */
typedef struct ergon_page ergon_page;
/** The totals of a page at one moment. Opaque. */
typedef struct ergon_page_mark ergon_page_mark;

/**
 * Opens an energy page and checks all of it.
 *
 * path: the file; copied. NULL: /run/ergon/energy (the machine's agent), then
 * /run/user/UID/ergon/energy (the user's own), the first that is live.
 * Errors: -ENOENT no agent keeps a page there; -EACCES no right to read it (the group of the file
 * has: usually `ergon`); -EPROTO not a page, damaged, or of a version this library does not know;
 * -ENOMEM, -EMFILE.
 * Owner: ergon_page_close() it. Threads and blocking: any; some system calls. Since: 0.2.
 */
ERGON_API int ergon_page_open(const char *path, ergon_page **ret) ERGON_MUST_CHECK;
/** Closes it. Marks stay valid until they are freed. Takes NULL. Since: 0.2. */
ERGON_API void ergon_page_close(ergon_page *page);

/** What became of the agent that wrote a page. */
enum ergon_page_life {
	ERGON_PAGE_LIVE,  /**< it writes */
	ERGON_PAGE_STALE, /**< it has not for three intervals and 5 s: hung, stopped or killed */
	ERGON_PAGE_ENDED /**< it stopped in order, another took its place, or the machine restarted */
};
/**
 * An enum ergon_page_life. The values of a page that is not live are the last ones, with their times.
 * Does not block; reads the clock, which takes no system call on most machines. Since: 0.2.
 */
ERGON_API int ergon_page_state(const ergon_page *page);
/**
 * Time since the agent's last sample, ns. -ERANGE: this program's CLOCK_BOOTTIME is not the agent's (a
 * time namespace, another boot). Blocking: as ergon_page_state(). Since: 0.2.
 */
ERGON_API int ergon_page_age_ns(const ergon_page *page, uint64_t *ret_ns);
/** Interval between the agent's samples, ns. Since: 0.2. */
ERGON_API uint64_t ergon_page_interval_ns(const ergon_page *page);
/**
 * Looks whether another agent keeps a page at the path now, if this one is not live. 1: it does, and
 * the page is that one from now on: indices of accounts may have changed, texts got from it before are
 * gone; the totals go on, for an agent continues those of the one before it. 0: nothing changed.
 * Errors: as ergon_page_open() about the other one, without -ENOENT; -EAGAIN other threads still read
 * the pages of several agents before this one; the page is as it was then.
 * Threads and blocking: any (since 0.3; before, no other call on this page might be running); who
 * keeps texts must see to it that no thread refreshes meanwhile. Some system calls, none while the
 * page is live. Since: 0.2.
 */
ERGON_API int ergon_page_refresh(ergon_page *page);

/** What an account is: fixed while the page is not refreshed, and the texts live as long. */
struct ergon_page_info {
	size_t size;		/**< sizeof, set by the caller: ERGON_PAGE_INFO_INIT */
	const char *device;	/**< the physical thing, stable across boots: "cpu-0" */
	const char *component;	/**< "package", "dram", "gpu", ... */
	const char *source;	/**< the interface: "rapl", "nvml", ...; "" unknown */
	const char *provenance; /**< "measured", "modeled" or "estimated" */
	const char *boundary;	/**< "component", "node" or "facility"; "" unknown */
	const char *channel; /**< what feeds it or did last, as "rapl/package-0"; "" nothing yet */
	int counted;	     /**< it is part of the node's total; no two of these overlap */
	int held;	     /**< what was held over lost readings of another account */
	uint32_t accuracy_ppm; /**< half-width of the 95 % interval of the energy; 0 unknown */
};
#define ERGON_PAGE_INFO_INIT                                                                \
	{                                                                                   \
		sizeof(struct ergon_page_info), NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0 \
	}

/** Number of accounts. Since: 0.2. */
ERGON_API size_t ergon_page_count(const ergon_page *page);
/** What account `index` is. Errors: -ENOENT no such index, -EINVAL size. Does not block. Since: 0.2. */
ERGON_API int ergon_page_account(const ergon_page *page, size_t index, struct ergon_page_info *ret);
/**
 * Index of the account of a device and component, as ("cpu-0", "package", "measured"). provenance
 * NULL: the strongest. Errors: -ENOENT. Does not block. Since: 0.2.
 */
ERGON_API int ergon_page_find(const ergon_page *page, const char *device, const char *component,
			      const char *provenance);

/** What an account held when the agent wrote it last. */
struct ergon_page_reading {
	size_t size;		  /**< sizeof, set by the caller: ERGON_PAGE_READING_INIT */
	uint64_t total_uj;	  /**< energy since created_unix_ns, microjoules; never falls */
	uint64_t power_uw;	  /**< power, microwatts, of the time t_ns; see has_power */
	int has_power;		  /**< power_uw is known */
	uint64_t t_ns;		  /**< last good reading, CLOCK_BOOTTIME; 0: none in this boot */
	uint64_t unix_ns;	  /**< the same in Unix time; 0: none in this boot */
	uint64_t gap_ns;	  /**< time since created_unix_ns that was not measured */
	uint64_t created_unix_ns; /**< the total counts from then on; 0 unknown */
	const char *status;	  /**< of the last read, as ergon_reading_get_status(); static */
};
#define ERGON_PAGE_READING_INIT                                              \
	{                                                                    \
		sizeof(struct ergon_page_reading), 0, 0, 0, 0, 0, 0, 0, NULL \
	}

/**
 * Reads account `index`, all of it of one moment. No system call.
 * Errors: -ENODATA no valid reading has ever been there; -EAGAIN the agent was in the middle of writing
 * it, which takes it well below a microsecond: try again, and where it stays so ergon_page_state()
 * will tell that it died there, and ergon_page_refresh() finds the next one; -ENOENT no such index;
 * -EINVAL size. Threads and blocking: any; at most some milliseconds, nanoseconds as a rule.
 * Since: 0.2.
 */
ERGON_API int ergon_page_read(const ergon_page *page, size_t index, struct ergon_page_reading *ret);

/** The node's total: the accounts that are counted, at one tick of the agent. */
struct ergon_page_sum {
	size_t size;	       /**< sizeof, set by the caller: ERGON_PAGE_SUM_INIT */
	uint64_t total_uj;     /**< microjoules, held and estimated ones included */
	uint64_t estimated_uj; /**< the held and estimated part of it */
	uint64_t power_uw;     /**< microwatts; see has_power */
	int has_power;	       /**< every account of it answered last time and its power is known */
	uint32_t accounts;     /**< in the sum */
	uint32_t missing;      /**< that belong to it, but have never had a valid reading */
	uint64_t t_ns;	       /**< of the tick, CLOCK_BOOTTIME */
	uint64_t unix_ns;      /**< of the tick, Unix time */
	const char *provenance; /**< the weakest in it; static */
};
#define ERGON_PAGE_SUM_INIT                                                 \
	{                                                                   \
		sizeof(struct ergon_page_sum), 0, 0, 0, 0, 0, 0, 0, 0, NULL \
	}

/**
 * The node's total, without overlap. It is of the accounts of this page: over an ergon_page_refresh()
 * a device may have come or gone with its joules, so energy between two moments is asked by
 * ergon_page_since(). No system call.
 * Errors: -ENODATA nothing is counted, -EAGAIN as ergon_page_read(), -EINVAL size. Since: 0.2.
 */
ERGON_API int ergon_page_total(const ergon_page *page, struct ergon_page_sum *ret);

/**
 * Notes the totals of now, for ergon_page_since(). Errors: -EAGAIN as ergon_page_read(), -ENOMEM.
 * Owner: free with ergon_page_mark_free(). No system call but of malloc(). Since: 0.2.
 */
ERGON_API int ergon_page_mark_new(const ergon_page *page, ergon_page_mark **ret) ERGON_MUST_CHECK;
/** Takes NULL. Since: 0.2. */
ERGON_API void ergon_page_mark_free(ergon_page_mark *mark);

/** Why a delta may be less than what was used. Bits. */
enum ergon_page_partial {
	/** The page was refreshed to that of another agent in between. */
	ERGON_PAGE_REPLACED = 1 << 0,
	/** An account is gone, its total began anew, or it is counted only now: it is not in the delta;
	 *  or it had its first reading after the mark: it is in from there on. */
	ERGON_PAGE_INCOMPLETE = 1 << 1,
	/** Part of the time was not measured, or an account did not answer at one of the ends. */
	ERGON_PAGE_GAP = 1 << 2,
	/* The others are of windows alone (ergon/page_window.h). Why it is incomplete, since 0.3: */
	ERGON_PAGE_VANISHED = 1 << 3, /**< an account is not on the page any more */
	ERGON_PAGE_ANEW = 1 << 4,     /**< the total of an account began anew */
	ERGON_PAGE_APPEARED =
		1 << 5,		    /**< an account is counted only now, or had its first reading */
	ERGON_PAGE_SILENT = 1 << 6, /**< an account has no total */
	/** An end lies more than two intervals from the agent's tick: it is gone, or hangs. */
	ERGON_PAGE_AWAY = 1 << 7,
	/** Shorter than ten intervals of the agent: the edges weigh. Not less than what was used. */
	ERGON_PAGE_SHORT = 1 << 8
};

/** Energy between a mark and now. Never more than was counted in between, never negative. */
struct ergon_page_delta {
	size_t size;	       /**< sizeof, set by the caller: ERGON_PAGE_DELTA_INIT */
	uint64_t uj;	       /**< microjoules, held and estimated ones included */
	uint64_t estimated_uj; /**< the held and estimated part of it */
	uint64_t duration_ns;  /**< from the agent's last tick before the mark to that before now */
	uint64_t gap_ns;       /**< longest time in between that one of the accounts cannot tell */
	uint32_t flags;	       /**< enum ergon_page_partial; 0: the delta is whole */
	uint32_t accounts;     /**< in the delta */
	const char *provenance; /**< the weakest in it; static */
};
#define ERGON_PAGE_DELTA_INIT                                           \
	{                                                               \
		sizeof(struct ergon_page_delta), 0, 0, 0, 0, 0, 0, NULL \
	}

/**
 * What the node used since a mark of this page: the accounts that were counted then. Both ends lie on
 * ticks of the agent. No system call.
 * Errors: -ENODATA none of them has a known energy, -EAGAIN as ergon_page_read(), -EINVAL size.
 * Threads: any, one at a time on one mark. Since: 0.2.
 */
ERGON_API int ergon_page_since(const ergon_page *page, ergon_page_mark *mark,
			       struct ergon_page_delta *ret);
/** The same of account `index` (of now) alone. Errors: also -ENOENT no such index. Since: 0.2. */
ERGON_API int ergon_page_since_account(const ergon_page *page, ergon_page_mark *mark, size_t index,
				       struct ergon_page_delta *ret);

ERGON_END

#endif
