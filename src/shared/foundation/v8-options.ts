/**
 * At a start come thousands of values that stay. From them V8 would conclude that what the same lines make later stays
 * as well, and put it where only full collections look, with all that hangs on it.
 */
export const ALL_BEGIN_YOUNG = '--no-allocation-site-pretenuring';
