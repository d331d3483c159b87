/* Threads that help with one call: see team.c. */
#ifndef TRIMSEEK_TEAM_H
#define TRIMSEEK_TEAM_H

#include <pthread.h>

typedef struct Team Team;
typedef void (*Work)(void *context, int item, int member);

/* A team of `helpers` threads, or of fewer if they cannot be started; NULL when out of memory. */
Team *team_new(int helpers);
void team_free(Team *team);

/* Threads that work on a call: the helpers and the caller's. */
int team_members(const Team *team);

/* Whether the caller got the team; 0 while another call has it. It must be given back. */
int team_take(Team *team);
void team_give_back(Team *team);

/* Ends the helpers' part in the call that has the team; that call goes on without them. */
void team_dismiss(Team *team);

/*
 * Calls `work(context, item, member)` for every item, and returns when all are done. Without a team
 * the caller does all of them. `last`: no other `share` follows before the team is given back.
 */
void share(Team *team, Work work, void *context, int items, int last);

#endif
