/* Threads that help with one call: see team.c. */
#ifndef TRIMSEEK_TEAM_H
#define TRIMSEEK_TEAM_H

#include <pthread.h>

typedef struct Team Team;
typedef void (*Work)(void *context, int item, int member);

/* So many helpers, or as many as can be had; NULL when out of memory. */
Team *team_new(int helpers);
void team_free(Team *team);

/* How many threads a call of the team may have, the caller's among them. */
int team_members(const Team *team);

/* Whether the team is the caller's until it gives it back: not while another call has it. */
int team_take(Team *team);
void team_give_back(Team *team);

/* Lets the helpers go in the middle of a call, which then goes on without them. */
void team_dismiss(Team *team);

/*
 * Calls `work(context, item, member)` for every item and returns when all are done. Without a team
 * the caller does it all. `last`: nothing more will be shared before the team is given back.
 */
void share(Team *team, Work work, void *context, int items, int last);

#endif
