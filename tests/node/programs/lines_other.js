'use strict';
// a comment, so that positions differ from those in lines.js
exports.put = function put(array, at, value) {
  array[at] = value;
};
