/*
 * Work off the loop: lanes of threads.
 *
 * A lane is a queue and the threads that empty it, started when there is something to do and nobody idle. Finished
 * work is put on one list of the world, whose loop thread calls done(). libuv's own pool is not used: its four
 * threads are shared with everything else that libuv does, so a slow name server would hold up signatures.
 *
 * A lane is shared by its world and its threads (the count under its lock), because a thread inside getaddrinfo()
 * can't be called back: it is left alone and takes the last reference with it.
 */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/uv_private.h"

#define MAX_THREADS 16
#define NICER 5

struct lane {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct uv_world *world; /* used only while `stopping` is false */
	struct list queue;
	pthread_t threads[MAX_THREADS];
	unsigned n_threads;
	unsigned max_threads;
	unsigned idle;
	unsigned refs; /* the world's and one a thread */
	bool join;
	bool nice;
	bool stopping;
};

struct lane *lane_new(struct uv_world *w, unsigned max_threads, bool join, bool nice)
{
	struct lane *l = mem_zalloc(sizeof(*l));

	if (!l)
		return NULL;
	if (pthread_mutex_init(&l->lock, NULL)) {
		mem_free(l);
		return NULL;
	}
	if (pthread_cond_init(&l->more, NULL)) {
		pthread_mutex_destroy(&l->lock);
		mem_free(l);
		return NULL;
	}
	l->world = w;
	list_init(&l->queue);
	l->max_threads = max_threads < 1 ? 1 : max_threads > MAX_THREADS ? MAX_THREADS : max_threads;
	l->refs = 1;
	l->join = join;
	l->nice = nice;
	return l;
}

/* The lock is held and is let go. */
static void lane_unref(struct lane *l)
{
	bool last = --l->refs == 0;

	pthread_mutex_unlock(&l->lock);
	if (!last)
		return;
	pthread_cond_destroy(&l->more);
	pthread_mutex_destroy(&l->lock);
	mem_free(l);
}

void work_drop(struct work *work)
{
	if (work->dropped)
		work->dropped(work);
}

/*
 * On Linux niceness is a thread's own. Handshakes and signatures may fill all processors in a storm, and the loop, whom
 * everybody is waiting for, must not stand behind them. Not more than this, or busy neighbours would starve them.
 */
static void be_nice(void)
{
	pid_t thread = (pid_t)syscall(SYS_gettid);

	(void)setpriority(PRIO_PROCESS, (id_t)thread, getpriority(PRIO_PROCESS, (id_t)thread) + NICER);
}

static void *lane_thread(void *arg)
{
	struct lane *l = arg;

	if (l->nice)
		be_nice();
	pthread_mutex_lock(&l->lock);
	for (;;) {
		struct work *work;

		while (list_is_empty(&l->queue) && !l->stopping) {
			l->idle++;
			pthread_cond_wait(&l->more, &l->lock);
			l->idle--;
		}
		if (l->stopping)
			break;
		work = list_first(&l->queue, struct work, queued);
		list_remove(&work->queued);
		pthread_mutex_unlock(&l->lock);

		work->run(work);

		pthread_mutex_lock(&l->lock);
		/* Under the lane's lock, so that the world can't go away in between. */
		if (!l->stopping || l->join)
			work_finished(l->world, work);
		else
			work_drop(work);
	}
	lane_unref(l);
	return NULL;
}

/* Signals are the loop thread's: it alone must be woken by them. */
static enum err start_thread(struct lane *l)
{
	sigset_t all, old;
	int status;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	status = pthread_create(&l->threads[l->n_threads], NULL, lane_thread, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (status)
		return ERR_NOMEM;
	if (!l->join)
		pthread_detach(l->threads[l->n_threads]);
	l->n_threads++;
	l->refs++;
	return ERR_OK;
}

enum err lane_put(struct lane *l, struct work *work)
{
	enum err e = ERR_OK;

	pthread_mutex_lock(&l->lock);
	/* Idle threads may already have been woken for what is queued: one more is started unless all of it is covered.
	 */
	if (l->idle == 0 || !list_is_empty(&l->queue)) {
		if (l->n_threads < l->max_threads)
			e = start_thread(l);
		/* With fewer threads than wished the work is only slower. */
		if (l->n_threads > 0)
			e = ERR_OK;
	}
	if (e == ERR_OK) {
		list_append(&l->queue, &work->queued);
		pthread_cond_signal(&l->more);
	}
	pthread_mutex_unlock(&l->lock);
	return e;
}

void lane_stop(struct lane *l)
{
	struct list left;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	list_init(&left);
	list_for (work, &l->queue, struct work, queued) {
		list_remove(&work->queued);
		list_append(&left, &work->queued);
	}
	pthread_cond_broadcast(&l->more);
	pthread_mutex_unlock(&l->lock);

	if (l->join)
		for (unsigned i = 0; i < l->n_threads; i++)
			pthread_join(l->threads[i], NULL);
	list_for (work, &left, struct work, queued) {
		list_remove(&work->queued);
		work_drop(work);
	}
	pthread_mutex_lock(&l->lock);
	lane_unref(l);
}

void work_finished(struct uv_world *w, struct work *work)
{
	uv_mutex_lock(&w->finished_lock);
	list_append(&w->finished, &work->queued);
	uv_mutex_unlock(&w->finished_lock);
	uv_async_send(&w->async);
}

void work_report(struct uv_world *w)
{
	struct list reported;

	list_init(&reported);
	uv_mutex_lock(&w->finished_lock);
	list_for (work, &w->finished, struct work, queued) {
		list_remove(&work->queued);
		list_append(&reported, &work->queued);
	}
	uv_mutex_unlock(&w->finished_lock);

	/* What finishes from here on, started by a done() perhaps, wakes the loop again. */
	while (!list_is_empty(&reported)) {
		struct work *work = list_first(&reported, struct work, queued);

		list_remove(&work->queued);
		work->done(work);
	}
}

void uv_work(struct world *world, enum work_lane lane, struct work *work)
{
	struct uv_world *w = uv_world_of(world);

	assert(lane < WORK_N_LANES);
	work->world = world;
	list_init(&work->queued);
	if (!w->lanes[lane]) {
		work_drop(work); /* stopped already */
		return;
	}
	if (lane_put(w->lanes[lane], work) == ERR_OK)
		return;
	/* When not even one thread can be had, slow is better than never: the loop does it itself. */
	work->run(work);
	work_finished(w, work);
}
