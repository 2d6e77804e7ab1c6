import { BifrostError } from '@bifrost/types/core';

/** What is wrong with a request itself: a part of it, or the whole body (an empty path). */
export const wrong = (path: string, message: string): BifrostError =>
  new BifrostError({ code: 'INVALID_ARGUMENT', message: path === '' ? message : `${path}: ${message}`, issues: [{ path, message }] });
