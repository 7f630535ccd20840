/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows over the energy page: what was used between two moments of a program, told by the agent of
 * the machine. Beginning and ending one takes no system call and no memory, so that each request of a
 * server can have one.
 *
 *	ergon_page_window *w;
 *	struct ergon_page_used used = ERGON_PAGE_USED_INIT;
 *
 *	ergon_page_window_new(page, &w);		once, for each thread
 *	if (ergon_page_window_begin(page, w) == 0) {
 *		work();
 *		if (ergon_page_window_end(page, w, &used) == 0 && used.known)
 *			printf("%.3f J +- %.3f J%s\n", used.uj / 1e6, used.uncertainty_uj / 1e6,
 *			       used.partial ? ", at least" : "");
 *	}
 *
 * The ends of a window are ticks of the agent: the last before it began and the last before it ended,
 * each up to one interval early. The joules are exactly those between these ticks, whose stamps are in
 * the result; they are never stretched or shortened to the moments asked for, because what was used
 * between two ticks cannot be known. What may have flowed there is in the uncertainty, from the
 * powers known at both ends. So a window of N intervals is off by up to 100/N %; below 10 intervals
 * it is flagged, and below one it may hold 0 J: windows of an ergon_open() of one's own are exact
 * there, and several windows that share one account are shared out by a program that knows what ran
 * (examples/http_server.c).
 *
 * Nothing is counted twice: the total is of the accounts that the page counts, none of which overlaps
 * another. Windows are independent: they nest and overlap freely.
 *
 * The agent may restart meanwhile: once ergon_page_refresh() found the next one, the window holds
 * across both, because totals go on. What cannot be known is left out and said, by flags.
 */
#ifndef ERGON_PAGE_WINDOW_H
#define ERGON_PAGE_WINDOW_H

#include <ergon/page.h>

ERGON_BEGIN

/** A window over a page. Opaque. One thread at a time may use one; any number run at once. */
typedef struct ergon_page_window ergon_page_window;

/** What was used, by an account or by all that are counted. */
struct ergon_page_used {
	size_t size; /**< sizeof, set by the caller: ERGON_PAGE_USED_INIT */
	/** The energy is known, at least in part. 0: uj and what follows from it mean nothing. */
	int known;
	/** It may be less than what was used: flags other than REPLACED and SHORT are set. */
	int partial;
	uint64_t uj; /**< microjoules between the readings, held and estimated ones included */
	uint64_t estimated_uj; /**< the held and estimated part of it */
	/** Half-width of the 95 % interval of the energy of the time asked for, microjoules: accuracy
	 *  class of the interfaces, and what may have flowed between the readings and the moments
	 *  asked for. Gaps are not in it. */
	uint64_t uncertainty_uj;
	uint64_t edge_uj;	/**< of it: what may have flowed at the edges */
	int has_uncertainty;	/**< both are known */
	uint64_t mean_uw;	/**< microwatts between the readings */
	int has_mean;		/**< there was time between them */
	uint64_t duration_ns;	/**< between the readings: of the energy */
	uint64_t asked_ns;	/**< between the calls of begin and end */
	uint64_t begin_ns;	/**< of the reading at the begin, CLOCK_BOOTTIME */
	uint64_t end_ns;	/**< of that at the end */
	uint64_t begin_unix_ns; /**< the same in Unix time; 0 unknown */
	uint64_t end_unix_ns;
	uint64_t gap_ns;	/**< longest time inside that one of the accounts cannot tell */
	uint32_t flags;		/**< enum ergon_page_partial */
	uint32_t accounts;	/**< in it */
	const char *provenance; /**< the weakest in it; static */
};
#define ERGON_PAGE_USED_INIT                                                                       \
	{                                                                                          \
		sizeof(struct ergon_page_used), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
			0, NULL                                                                    \
	}

/**
 * Makes a window, which does not run yet: it can begin and end any number of times.
 * Errors: -ENOMEM. Owner: ergon_page_window_free() it; the page need not be open any more.
 * Threads and blocking: any, does not block. Since: 0.3.
 */
ERGON_API int ergon_page_window_new(const ergon_page *page,
				    ergon_page_window **ret) ERGON_MUST_CHECK;
/** Takes NULL. Since: 0.3. */
ERGON_API void ergon_page_window_free(ergon_page_window *w);
/**
 * Begins it: notes the totals of the agent's last tick.
 * Errors: -EALREADY it runs; -ENODATA the agent does not write, ergon_page_state() says what became
 * of it; -EAGAIN as ergon_page_read(); -ENOMEM only after ergon_page_refresh() found a page of more
 * accounts. It does not run then.
 * Blocking: no system call where the clock needs none; below a microsecond a dozen accounts.
 * Since: 0.3.
 */
ERGON_API int ergon_page_window_begin(const ergon_page *page,
				      ergon_page_window *w) ERGON_MUST_CHECK;
/**
 * Ends it: what the accounts that were counted at its begin used since. Also where the agent is gone
 * by now; then the window ends with its last tick (ERGON_PAGE_AWAY).
 * Errors: -EINVAL size; -ENOENT it does not run; -EAGAIN, -ENOMEM as ergon_page_window_begin(), it
 * goes on then. Blocking: as ergon_page_window_begin(). Since: 0.3.
 */
ERGON_API int ergon_page_window_end(const ergon_page *page, ergon_page_window *w,
				    struct ergon_page_used *ret) ERGON_MUST_CHECK;
/** The value so far; the window goes on. Errors: as ergon_page_window_end(). Since: 0.3. */
ERGON_API int ergon_page_window_peek(const ergon_page *page, ergon_page_window *w,
				     struct ergon_page_used *ret) ERGON_MUST_CHECK;
/**
 * Ends it and begins it anew on the same tick, so that windows back to back sum to the enclosing one
 * exactly. The units of work begin at none. Errors: as ergon_page_window_end(). Since: 0.3.
 */
ERGON_API int ergon_page_window_next(const ergon_page *page, ergon_page_window *w,
				     struct ergon_page_used *ret) ERGON_MUST_CHECK;
/** Forgets it without a result. Since: 0.3. */
ERGON_API void ergon_page_window_cancel(ergon_page_window *w);

/**
 * Accounts of the page when the window began; the results of the last end, peek or next have one row
 * each. 0 before the first of them. Since: 0.3.
 */
ERGON_API size_t ergon_page_window_count(const ergon_page_window *w);
/**
 * Row `index` of the last result: what the account is (the texts live until the window is ended once
 * more or freed) and what it used, with the times of its own readings. Rows overlap; those that are
 * counted do not, and the result is their sum. Errors: -ENOENT no such row; -EINVAL size. Since: 0.3.
 */
ERGON_API int ergon_page_window_account(const ergon_page_window *w, size_t index,
					struct ergon_page_info *ret_info,
					struct ergon_page_used *ret_used) ERGON_MUST_CHECK;

/**
 * Adds work done inside the running window, as (w, "records", 1000). unit: 1 to 31 bytes, at most 8
 * kinds a window. Errors: -ENOENT it does not run, -EINVAL, -ENAMETOOLONG, -ENOSPC, -EOVERFLOW.
 * Does not block. Since: 0.3.
 */
ERGON_API int ergon_page_window_add_units(ergon_page_window *w, const char *unit, uint64_t count);
/**
 * Work of that name in the last result, and microjoules of its total for each unit of it (NULL: not
 * wanted). Errors: -ENOENT no such work, or none done; -ENODATA its energy is not known. Since: 0.3.
 */
ERGON_API int ergon_page_window_units(const ergon_page_window *w, const char *unit,
				      uint64_t *ret_count, double *ret_uj_each);

/** What a bit of enum ergon_page_partial says, in words; NULL: no such bit. Static. Since: 0.3. */
ERGON_API const char *ergon_page_partial_text(uint32_t bit);

ERGON_END

#endif
