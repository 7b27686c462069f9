import { board, record, type Reading } from './board.js';

enum Place { first, second }

const average = (values: number[]): void => {
  board[0] = values.reduce((a, b) => a + b, 0) / values.length;
};

for (let i = 0; i < 3000; i++) {
  record({ degrees: i } as Reading, Place.second);
}
average([1, 2, 3]);
board[0] = 1;
