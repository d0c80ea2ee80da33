"""Messages of customs systems → declarations of the contract. No service is asked."""
